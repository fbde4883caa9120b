"""The cache of memories: newest versions only, within its budget."""

from __future__ import annotations

from dataclasses import replace

from memos_ray.actors.vault.bodies import BodyCache
from memos_ray.core.cube.payload import ArchivedRef, Form
from memos_ray.testing.cubes import as_moved, key_of, make_commit, make_cube, next_version

ROOM = 1 << 20


def test_OPER_5_what_was_put_is_there_until_it_changes() -> None:
    cache, cube = BodyCache(ROOM), make_cube("first")
    assert cache.get(0, key_of(cube)) is None
    cache.put(0, cube, cache.generation(0))
    assert cache.get(0, key_of(cube)) == cube
    assert cache.get(1, key_of(cube)) is None
    cache.apply(replace(make_commit(), moved=(as_moved(cube),)))
    assert cache.get(0, key_of(cube)) is None
    assert cache.memory_bytes == 0


def test_OPER_5_what_was_just_written_is_there_where_there_is_room() -> None:
    cache, cube = BodyCache(ROOM), make_cube("first")
    second, third = next_version(cube, text="second"), next_version(cube, text="third")
    for written in [cube], [second, third]:
        commit = make_commit(written)
        cache.apply(commit)
        assert cache.get(0, key_of(cube)) == commit.cubes[-1]
    away = replace(next_version(third), payload=ArchivedRef("ab", 0, Form.PLAINTEXT))
    cache.apply(make_commit([away]))
    assert cache.get(0, key_of(cube)) is None and cache.memory_bytes == 0


def test_OPER_5_what_was_just_written_takes_nobody_elses_place() -> None:
    cache, used = BodyCache(budget_bytes=20_000), make_cube("used")
    cache.put(0, used, cache.generation(0))
    cubes = [make_cube("x" * 2000) for _ in range(20)]
    cache.apply(make_commit(cubes))
    assert cache.memory_bytes <= 20_000
    assert cache.get(0, key_of(cubes[0])) and cache.get(0, key_of(cubes[-1])) is None
    asked = make_cube("y" * 2000)
    cache.put(0, asked, cache.generation(0))
    assert cache.get(0, key_of(used)) and cache.get(0, key_of(asked))


def test_OPER_5_what_was_read_before_a_commit_is_refused_behind_it() -> None:
    cache, cube = BodyCache(ROOM), make_cube("old")
    generation = cache.generation(0)
    commit = make_commit([next_version(cube, text="new")])
    cache.apply(commit)
    cache.put(0, cube, generation)
    assert cache.get(0, key_of(cube)) == commit.cubes[0]


def test_OPER_5_a_commit_of_another_partition_does_not_matter() -> None:
    cache, cube = BodyCache(ROOM), make_cube()
    generation = cache.generation(0)
    cache.apply(make_commit([make_cube()], partition=1))
    cache.put(0, cube, generation)
    assert cache.get(0, key_of(cube)) is not None


def test_OPER_5_the_erased_and_a_dropped_partition_are_gone() -> None:
    cache, one, other = BodyCache(ROOM), make_cube("one"), make_cube("other")
    for cube in (one, other):
        cache.put(0, cube, cache.generation(0))
    cache.apply(make_commit(erased=[one]))
    assert cache.get(0, key_of(one)) is None
    generation = cache.generation(0)
    cache.drop(0)
    assert cache.get(0, key_of(other)) is None
    cache.put(0, other, generation)
    assert cache.get(0, key_of(other)) is None, "read for an owner that is none any more"
    assert cache.memory_bytes == 0


def test_OPER_5_the_budget_is_kept_and_what_is_used_stays() -> None:
    cubes = [make_cube("x" * 2000) for _ in range(20)]
    cache = BodyCache(budget_bytes=20_000)
    for cube in cubes:
        cache.put(0, cube, cache.generation(0))
        cache.get(0, key_of(cubes[0]))
        assert cache.memory_bytes <= 20_000
    held = [cube for cube in cubes if cache.get(0, key_of(cube)) is not None]
    assert cubes[0] in held and cubes[-1] in held
    assert 3 <= len(held) <= 9


def test_OPER_5_more_than_the_budget_is_not_kept() -> None:
    cache, cube = BodyCache(budget_bytes=1000), make_cube("x" * 5000)
    cache.put(0, cube, cache.generation(0))
    assert cache.get(0, key_of(cube)) is None
    assert cache.memory_bytes == 0
