"""The policy authority's signing key, and the first admin key.

Embedded, both are files in the data folder that only its owner may read. Clustered, where nodes
share no folder, the signing key comes from the settings.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from memos_ray.cluster.folder import DataFolder, write_secret
from memos_ray.config import Settings
from memos_ray.core.access import keys
from memos_ray.core.access.names import is_tenant_name
from memos_ray.errors import ConfigurationError, UnauthenticatedError

_RAW = (
    serialization.Encoding.Raw,
    serialization.PrivateFormat.Raw,
    serialization.NoEncryption(),
)


def without_keys(settings: Settings) -> Settings:
    """Returns the settings for parts that verify policy and never sign it."""
    secrets = {"signing_key": None, "admin_key": None}
    governance = settings.governance.model_copy(update=secrets)
    return settings.model_copy(update={"governance": governance})


class Keyring:
    """Finds or makes the keys."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = DataFolder(settings.data)

    def ensure(self) -> None:
        """Makes the keys that are missing; called once, before any actor starts.

        The admin key is written down before the authority hears of it: whatever dies in between,
        the key in the file works in the end.

        Raises:
            ConfigurationError: a key or the tenant of the settings cannot be used; names the field.
        """
        given = self._settings.governance
        if not is_tenant_name(given.default_tenant):
            raise ConfigurationError("not a tenant name", field="governance.default_tenant")
        if given.admin_key is not None:
            _check_admin_key(given.admin_key.get_secret_value(), given.default_tenant)
        if given.signing_key is not None:
            self.signing_key()
        if given.signing_key is None and not self._path.exists():
            self._folder.create()
            write_secret(self._path, Ed25519PrivateKey.generate().private_bytes(*_RAW))
        if given.admin_key is None and not self._folder.admin_key.exists():
            self._folder.create()
            minted = keys.mint(given.default_tenant, os.urandom(keys.KEY_ENTROPY_BYTES))
            write_secret(self._folder.admin_key, minted.secret.encode())

    def admin_key(self) -> str:
        """Returns the first administrator's API key.

        Raises:
            ConfigurationError: there is none here.
        """
        given = self._settings.governance.admin_key
        if given is not None:
            return given.get_secret_value()
        try:
            return self._folder.admin_key.read_text().strip()
        except OSError:
            raise ConfigurationError(
                "there is no admin key here", path=str(self._folder.admin_key)
            ) from None

    def signing_key(self) -> Ed25519PrivateKey:
        """Returns the private key, for the authority only.

        Raises:
            ConfigurationError: there is none, or it is no Ed25519 key.
        """
        secret = self._settings.governance.signing_key
        try:
            if secret is not None:
                raw = base64.b64decode(secret.get_secret_value(), validate=True)
            else:
                raw = self._path.read_bytes()
            return Ed25519PrivateKey.from_private_bytes(raw)
        except (OSError, ValueError):
            raise ConfigurationError(
                "the signing key is missing or damaged", field="governance.signing_key"
            ) from None

    def public_key(self) -> bytes:
        """Returns the raw public key, 32 bytes, for everybody who verifies."""
        return self.signing_key().public_key().public_bytes_raw()

    @property
    def _path(self) -> Path:
        return self._folder.keys / "policy.ed25519"


def _check_admin_key(text: str, tenant: str) -> None:
    try:
        found = keys.parse(text).tenant
    except UnauthenticatedError as error:
        raise ConfigurationError(error.message, field="governance.admin_key") from None
    if found != tenant:
        raise ConfigurationError(
            "the key is for another tenant than the first one", field="governance.admin_key"
        )
