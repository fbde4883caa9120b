"""The port of the REST door."""

from __future__ import annotations

import socket

from memos_ray.config import Settings
from memos_ray.errors import ConfigurationError


def free_port(settings: Settings) -> int:
    """Returns the port to listen on, after a look whether it can be had.

    Raises:
        ConfigurationError: it is taken, or the address is not this machine's.
    """
    host, port = settings.gateway.host, settings.gateway.port
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            # Connections of an earlier server that are still on their way out do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return int(probe.getsockname()[1])
    except OSError as error:
        raise ConfigurationError(
            "the port of the REST door cannot be had; choose another one with --port,"
            " or --port 0 for any",
            host=host,
            port=port,
            reason=error.strerror or str(error),
        ) from None
