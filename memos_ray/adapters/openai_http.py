"""What adapters of OpenAI-compatible endpoints have in common."""

from __future__ import annotations

import math

import httpx

RETRY_AFTER_S_MAX = 3600.0


def headers_of(api_key: str | None) -> dict[str, str]:
    """Returns the headers that carry a credential; none without one."""
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}


def base_of(url: str) -> str:
    """Returns an endpoint's address as a client joins paths to it."""
    return url.rstrip("/") + "/"


def retry_after_s(answer: httpx.Response) -> float:
    """Seconds the server asks to wait, an hour at most; 0 when it does not say so in seconds."""
    try:
        asked = float(answer.headers.get("retry-after", "0"))
    except ValueError:
        return 0.0
    return min(max(0.0, asked), RETRY_AFTER_S_MAX) if math.isfinite(asked) else 0.0
