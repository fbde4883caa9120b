"""Where pipelines may publish to: nowhere, but for what the settings list."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import SplitResult, unquote, urlsplit

_PORTS = {"http": 80, "https": 443}


def allowed(url: str, places: Iterable[str]) -> bool:
    """Tells whether a URL lies in one of the places: same scheme, host and port, below its path."""
    try:
        wanted = urlsplit(url)
        origin = _origin(wanted)
    except ValueError:
        return False
    path = unquote(wanted.path or "/")
    plain = "\\" not in url and not {".", ".."} & set(path.split("/")) and "%" not in path
    if origin is None or wanted.username is not None or not plain:
        return False
    return any(
        _origin(place) == origin and _below(path, place.path) for place in map(urlsplit, places)
    )


def _origin(url: SplitResult) -> tuple[str, str, int] | None:
    if url.scheme not in _PORTS or not url.hostname:
        return None
    return url.scheme, url.hostname.lower(), url.port or _PORTS[url.scheme]


def _below(path: str, place: str) -> bool:
    root = place.rstrip("/")
    return path == root or path.startswith(f"{root}/")
