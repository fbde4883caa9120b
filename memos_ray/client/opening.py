"""Finds out which service a client means, and connects to it.

url      ─▶ REST
address  ─▶ a Ray cluster, joined as a driver
data     ─▶ a cluster of this process's own, on that data folder
nothing  ─▶ the configured URL, or the cluster that runs on the default data folder
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from memos_ray.client.http.transport import HttpTransport
from memos_ray.client.transport import Transport
from memos_ray.cluster.announcement import running_cluster
from memos_ray.config import Settings
from memos_ray.errors import (
    ConfigurationError,
    InvalidInputError,
    UnauthenticatedError,
    UnavailableError,
)


@dataclass(frozen=True, slots=True)
class Opened:
    """A connection, and the credential to use on it."""

    transport: Transport
    credential: str


def settings_for(data: Path | str | None, settings: Settings | None) -> Settings:
    """Returns the settings, with another data folder if one is given.

    Raises:
        ConfigurationError: the settings of the environment are not valid.
    """
    given = settings or Settings()
    if data is None:
        return given
    return given.model_copy(update={"data": Path(data)})


def admin_key_of(settings: Settings) -> str | None:
    """Returns the admin key that lies in the data folder, if this user may read it."""
    from memos_ray.cluster.keyring import Keyring

    try:
        return Keyring(settings).admin_key()
    except ConfigurationError:
        return None


def open_transport(
    data: Path | str | None,
    address: str | None,
    url: str | None,
    api_key: str | None,
    settings: Settings | None,
) -> Opened:
    """Connects; blocks until the service can be used.

    Raises:
        InvalidInputError: more than one place is named.
        UnauthenticatedError: a place that needs a key is named without one.
        UnavailableError: nothing runs there.
        DataFolderInUseError: another cluster runs on the data folder.
    """
    if sum(one is not None for one in (data, address, url)) > 1:
        raise InvalidInputError("give one of data, address and url")
    chosen = settings_for(data, settings)
    configured = chosen.client.api_key
    key = api_key or (configured.get_secret_value() if configured else None)
    if address is not None:
        return Opened(_join(chosen, address), key or _needed(admin_key_of(chosen)))
    if data is not None:
        transport = _embed(chosen)
        return Opened(transport, key or _needed(admin_key_of(chosen)))
    if url is not None or chosen.client.url is not None:
        return Opened(_http(url or chosen.client.url or "", chosen), _needed(key))
    running = running_cluster(chosen.data)
    if running is None:
        raise UnavailableError(
            "no cluster runs on this data folder; start one with `memos-ray up`, or open an"
            " embedded one with data=…",
            data=str(chosen.data),
        )
    return Opened(_http(running.url, chosen), key or _needed(admin_key_of(chosen)))


def _needed(key: str | None) -> str:
    if not key:
        raise UnauthenticatedError("an API key is needed: api_key=…, or MEMOS_CLIENT__API_KEY")
    return key


def _http(url: str, settings: Settings) -> HttpTransport:
    return HttpTransport(url, settings.client.timeout_s, settings.client.attempts)


def _embed(settings: Settings) -> Transport:
    from memos_ray.actors import interpreter
    from memos_ray.client.local import LocalTransport
    from memos_ray.cluster.boot import EmbeddedCluster
    from memos_ray.cluster.keyring import Keyring
    from memos_ray.gateway.opening import open_doorway

    cluster = EmbeddedCluster(settings)

    def stop() -> None:
        if settings.served_models:
            from memos_ray.serving import deployment

            deployment.end()
        cluster.stop()

    cluster.start()
    try:
        _start_models(settings)
        doorway = open_doorway(settings, Keyring(settings).public_key())
    except BaseException:
        stop()
        raise
    interpreter.spare()
    return LocalTransport(doorway, stop=stop)


def _start_models(settings: Settings) -> None:
    # Whoever serves no model does not load Serve either.
    if settings.served_models:
        from memos_ray.serving import deployment

        deployment.start(settings.served_models)


def _join(settings: Settings, address: str) -> Transport:
    from memos_ray.actors import interpreter
    from memos_ray.client.local import LocalTransport
    from memos_ray.cluster.boot import join
    from memos_ray.cluster.keyring import Keyring
    from memos_ray.gateway.opening import open_doorway

    join(settings, address)
    _start_models(settings)
    interpreter.spare()
    return LocalTransport(open_doorway(settings, Keyring(settings).public_key()))
