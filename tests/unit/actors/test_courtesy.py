"""Background work steps aside for writes, but not for ever."""

from __future__ import annotations

import asyncio
import time

import pytest

from memos_ray.actors.courtesy import Courtesy, Pressure
from memos_ray.testing.clock import ManualClock


class TestPressure:
    def test_a_lone_write_does_not_press(self) -> None:
        pressure = Pressure(ManualClock().monotonic)
        pressure.note(1)
        assert not pressure.pressing

    def test_a_bulk_load_presses_until_it_has_been_quiet_for_a_while(self) -> None:
        clock = ManualClock()
        pressure = Pressure(clock.monotonic)
        pressure.note(1000)
        clock.advance(0.25)
        assert pressure.pressing
        clock.advance(2.0)
        assert not pressure.pressing

    def test_many_lone_writes_together_press(self) -> None:
        clock = ManualClock()
        pressure = Pressure(clock.monotonic)
        for _ in range(32):
            clock.advance(0.001)
            pressure.note(1)
        assert pressure.pressing


class TestCourtesy:
    async def test_no_pressure_no_wait(self) -> None:
        asked: list[None] = []

        def pressing() -> bool:
            asked.append(None)
            return False

        courtesy = Courtesy(pressing)
        await courtesy.turn()
        assert len(asked) == 1

    async def test_it_waits_until_the_pressure_is_gone(self) -> None:
        pressing = [True, True, False]
        await Courtesy(lambda: pressing.pop(0)).turn()
        assert pressing == []

    async def test_it_goes_on_in_the_end_under_lasting_pressure(self) -> None:
        asked: list[None] = []

        def pressing() -> bool:
            asked.append(None)
            return True

        async with asyncio.timeout(60):
            await Courtesy(pressing).turn()
        assert len(asked) > 1

    async def test_a_busy_event_loop_does_not_make_it_wait_for_longer(self) -> None:
        asked: list[None] = []

        def pressing() -> bool:
            asked.append(None)
            time.sleep(0.2)
            return True

        await Courtesy(pressing).turn()
        assert len(asked) <= 10

    async def test_it_does_not_wait_while_somebody_waits_for_the_work(self) -> None:
        courtesy = Courtesy(lambda: pytest.fail("asked about pressure"))
        with courtesy:
            await courtesy.turn()
