"""The token that guards Ray's own ports, kept with the other keys of the data folder.

Whoever may join a Ray cluster may run code in it. Ray would keep one token for all clusters of a
user, in a file that others may read; a cluster that `memos-ray up` starts has one of its own.
"""

from __future__ import annotations

import os
import secrets

from memos_ray.cluster.folder import DataFolder, write_secret


def use_ray_token(folder: DataFolder) -> None:
    """Has Ray use the folder's token in this process and its children.

    Ray looks for it when it is first imported, and reads it when it starts or joins a cluster. What
    the environment says already goes before.
    """
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_AUTH_TOKEN_PATH", str(folder.ray_token.absolute()))


def ensure_ray_token(folder: DataFolder) -> None:
    """Makes the token unless there is one; for the holder of the folder's lock."""
    if not folder.ray_token.exists():
        write_secret(folder.ray_token, secrets.token_hex(32).encode())
