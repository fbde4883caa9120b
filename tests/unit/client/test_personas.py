"""Personas through the SDK: the same in this process and over HTTP."""

from __future__ import annotations

from pathlib import Path

import pytest

from memos_ray import AsyncMemOS, InvalidInputError, NotFoundError, PermissionDeniedError
from memos_ray.client.local import LocalTransport
from memos_ray.client.opening import Opened
from memos_ray.testing.in_process import in_process

TEMPLATE = """
name: tutor
description: Teaches a language.
shared: ["{home}", library]
purpose: teaching
preface: You help a tutor.
tags: [lessons]
half_life_s: 2592000
"""


async def test_APP_4_a_template_is_taken_on_used_and_retired(
    memos: AsyncMemOS, tmp_path: Path
) -> None:
    file = tmp_path / "tutor.yaml"
    file.write_text(TEMPLATE)
    ann = await memos.as_principal("user:ann")
    with pytest.raises(PermissionDeniedError):
        await ann.personas.create(file)
    made = await memos.personas.create(file, principal="user:ann")
    assert (made.stream, made.shared) == ("user:ann/tutor", ["user:ann", "library"])
    assert not made.held
    tutor = await ann.personas.use("tutor")
    stored = await tutor.add("Lena mixes up der and das")
    assert (await tutor.get(stored.id or "")).tags == ["lessons"]
    with pytest.raises(NotFoundError):
        await ann.get(stored.id or "")
    (shown,) = (await tutor.personas.list()).personas
    assert shown.in_use and shown.held
    changed = await tutor.personas.create(file, preface="Be kind.")
    assert (changed.preface, changed.purpose) == ("Be kind.", "teaching")
    assert (await tutor.personas.delete("tutor")).retired
    with pytest.raises(NotFoundError):
        await ann.personas.use("tutor")
    with pytest.raises(NotFoundError):
        await ann.personas.show("nobody")


@pytest.mark.parametrize(
    "text", ["name: [", "name: a b", "role: x", "name: x\nstream: ../up", "name: x\ncolour: red"]
)
async def test_APP_4_a_template_that_is_not_sound_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(text)
    async with in_process(tmp_path / "data") as made:
        client = AsyncMemOS()
        transport = LocalTransport(made.doorway)
        client.attach(Opened(transport, made.administrator.credential), owns=False)
        with pytest.raises(InvalidInputError):
            await client.personas.create(file)
        with pytest.raises(NotFoundError):
            await client.personas.create(tmp_path / "none.yaml")
