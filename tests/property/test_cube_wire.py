"""The wire format loses nothing, for any cube."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos_ray.core.cube import arrow, wire
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.metadata import Usage
from memos_ray.errors import StoreCorruptError, StoreVersionError
from memos_ray.testing.strategies import cubes, usages


@given(cubes())
def test_CUBE_8_json_is_loss_free(cube: MemCube) -> None:
    assert wire.from_json(wire.to_json(cube)) == cube


@given(cubes())
def test_CUBE_8_json_is_canonical(cube: MemCube) -> None:
    body = wire.to_json(cube)
    assert wire.to_json(wire.from_json(body)) == body


@given(st.lists(cubes(), max_size=3))
def test_CUBE_8_arrow_is_loss_free(several: list[MemCube]) -> None:
    assert list(arrow.from_table(arrow.to_table(several))) == several


@given(cubes(), usages)
def test_CUBE_8_the_digest_depends_on_the_content_alone(cube: MemCube, usage: Usage) -> None:
    read = wire.from_json(wire.to_json(replace(cube, usage=usage)))
    wire.check_digest(read)
    assert read.version.digest == wire.content_digest(
        cube.payload, cube.descriptive, cube.governance
    )


@given(cubes())
def test_CUBE_8_a_body_made_of_encoded_content_is_the_same(cube: MemCube) -> None:
    content = wire.Content.of(cube.payload, cube.descriptive, cube.governance)
    unused = replace(cube, usage=Usage())
    assert content.within(unused) == wire.to_json(unused)


@given(cubes(), cubes())
def test_CUBE_8_other_content_has_another_digest(one: MemCube, other: MemCube) -> None:
    content = [(cube.payload, cube.descriptive, cube.governance) for cube in (one, other)]
    assert content[0] == content[1] or one.version.digest != other.version.digest


@given(cubes(), cubes())
def test_CUBE_8_changed_content_is_noticed(one: MemCube, other: MemCube) -> None:
    if one.descriptive == other.descriptive:
        return
    with pytest.raises(StoreCorruptError):
        wire.check_digest(replace(one, descriptive=other.descriptive))


@given(st.binary(max_size=64))
def test_CUBE_8_bytes_that_are_no_cube_are_refused(junk: bytes) -> None:
    with pytest.raises(StoreCorruptError):
        wire.from_json(junk)


def test_CUBE_8_a_table_of_another_schema_version_is_refused() -> None:
    table = arrow.to_table([]).replace_schema_metadata({b"memos_schema_version": b"0"})
    with pytest.raises(StoreVersionError):
        list(arrow.from_table(table))
