"""SCHED-2: which KV caches a shard builds and holds."""

from __future__ import annotations

import pytest

from memos_ray.actors.activation.kv_library import KvLibrary, KvName, KvObject
from memos_ray.actors.activation.retention import retention_policy
from memos_ray.actors.vault.residency import Place
from memos_ray.config import KvRetention, VaultSettings
from memos_ray.core.activation import KvLayout, KvManifest, SourceVersion
from memos_ray.core.scheduling.policies import Budget
from memos_ray.testing.clock import ManualClock

HOME = Place(0, "acme", "user:ann")
SIZE = 4096


def named(*ids: str, version: int = 1, session: str = "") -> KvName:
    return KvName(HOME, "m", tuple(SourceVersion(one, version) for one in ids), session)


def cache(tokens: int = 64, size: int = SIZE) -> tuple[KvObject, ...]:
    manifest = KvManifest("k", tokens, "m", "e", KvLayout.CANONICAL, ("d",), size)
    return (KvObject(manifest, object()),)


class Shelf:
    """A library with room for one cache, in which `held` has been asked for ten times."""

    def __init__(self, policy: KvRetention) -> None:
        self.clock = ManualClock()
        settings = VaultSettings(kv_retention=policy)
        self.library = KvLibrary(Budget(SIZE, SIZE), retention_policy(settings), self.clock)
        for _ in range(20):
            self.library.note_build(64, 1.0)
        for _ in range(10):
            self.ask(named("held"))
        self.library.hold(named("held"), cache(), 1.0)

    def ask(self, name: KvName) -> bool:
        self.clock.advance(60.0)
        return self.library.use(name) is not None


@pytest.mark.parametrize(
    ("policy", "admitted"), [(KvRetention.COST, False), (KvRetention.LRU, True)]
)
def test_SCHED_2_what_would_not_be_kept_is_not_built(policy: KvRetention, admitted: bool) -> None:
    shelf = Shelf(policy)
    assert not shelf.ask(named("new"))
    assert shelf.library.admits(named("new"), 64) is admitted
    assert shelf.library.admits(named("new"), 64, pinned=True)


def test_SCHED_2_what_is_asked_for_again_and_again_is_built_after_all() -> None:
    shelf = Shelf(KvRetention.COST)
    for _ in range(40):
        shelf.ask(named("new"))
    assert shelf.library.admits(named("new"), 64)
    assert shelf.library.hold(named("new"), cache(), 1.0) == [named("held")]
    assert shelf.library.names == [named("new")]


def test_SCHED_2_a_change_ends_a_cache_and_is_remembered() -> None:
    shelf = Shelf(KvRetention.COST)
    shelf.library.outdated(named("held"))
    assert (shelf.library.memory_bytes, shelf.library.names) == (0, [])
    shelf.library.hold(named("held", version=2), cache(), 1.0)
    found = shelf.library.look(named("held", version=2))
    assert found is not None
    assert found.changes.heat(shelf.clock.monotonic()) == pytest.approx(1.0, rel=0.01)


def test_SCHED_2_the_last_questions_tell_what_is_similar() -> None:
    shelf = Shelf(KvRetention.SIMILARITY)
    held = shelf.library.look(named("held"))
    assert held is not None
    shelf.library.asked(HOME, ["held", "other"])
    near = held.similarity
    shelf.library.asked(HOME, ["other"])
    assert 0 < held.similarity < near
    shelf.library.asked(Place(0, "acme", "elsewhere"), ["held"])
    assert held.similarity < near, "other namespaces' questions are not about it"


def test_SCHED_2_what_would_fit_is_not_refused_for_an_estimate_from_above() -> None:
    library = KvLibrary(Budget(SIZE, SIZE), retention_policy(VaultSettings()), ManualClock())
    library.hold(named("held"), cache(tokens=64), 1.0)
    library.outdated(named("held"))
    # 64 tokens of a little more than four bytes: estimated as 90, which would not fit.
    text = "x" * 270
    assert library.admits(named("held", version=2), library.expected_tokens("m", text))
    library.note_tokens("m", text, 64)
    assert library.expected_tokens("m", text) == 64
    assert library.admits(named("held", version=2), library.expected_tokens("m", text))
    assert not library.admits(named("held", version=2), library.expected_tokens("m", 2 * text))
    library.note_tokens("m", text, 90)
    assert 64 < library.expected_tokens("m", text) < 90
    library.note_tokens("m", text, 48)
    assert library.expected_tokens("m", text) == 48
