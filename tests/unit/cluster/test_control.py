"""The authorities' process begins when their store can be had, and not before."""

from __future__ import annotations

from pathlib import Path

import pytest

from memos_ray.cluster.authorities import Authority
from memos_ray.cluster.control import ControlHost
from memos_ray.cluster.folder import DataFolder
from memos_ray.cluster.keyring import Keyring
from memos_ray.config import ExtractionSettings, LifecycleSettings, Settings
from memos_ray.core.access.snapshot import SignedSnapshot
from memos_ray.core.extraction import Allowance
from memos_ray.errors import StoreError


async def test_GOV_1_authorities_whose_store_was_away_at_their_start_begin_later(
    tmp_path: Path,
) -> None:
    settings = Settings(data=tmp_path, lifecycle=LifecycleSettings(enabled=False))
    folder = DataFolder(settings.data)
    folder.create()
    Keyring(settings).ensure()
    folder.records.rmdir()
    folder.records.write_text("the volume is not mounted")
    host = ControlHost(settings)
    for _ in range(2):
        with pytest.raises(StoreError):
            await host.ask(Authority.GOVERNANCE, "snapshot", "default")
    folder.records.unlink()
    snapshot = await host.ask(Authority.GOVERNANCE, "snapshot", "default")
    assert isinstance(snapshot, SignedSnapshot)


async def test_READ_3_the_authorities_keep_the_accounts_of_extraction(tmp_path: Path) -> None:
    settings = Settings(
        data=tmp_path,
        lifecycle=LifecycleSettings(enabled=False),
        extraction=ExtractionSettings(requests_per_hour=1),
    )
    DataFolder(settings.data).create()
    Keyring(settings).ensure()
    part = await ControlHost(settings).ask(Authority.ALLOWANCES, "allow", "default", 10)
    assert isinstance(part, Allowance) and (part.tokens, part.requests) == (None, 1)
    # Its successor knows, and has it back.
    successor = ControlHost(settings)
    assert await successor.ask(Authority.ALLOWANCES, "allow", "default", 10) == part.until
    await successor.ask(Authority.ALLOWANCES, "give_back", "default", part)
    assert await successor.ask(Authority.ALLOWANCES, "allow", "default", 10) == part
