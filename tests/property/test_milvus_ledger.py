"""The ledger of Milvus Lite against a model: no acknowledged row is lost in silence."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memos_ray.adapters.milvus_ledger import Ledger, LedgerError

KEYS = tuple("abcdef")
Row = tuple[int, int]


class Engine:
    """What an engine holds, and what it was made to forget."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.history: list[dict[str, Row]] = [{}]

    def write(self, change: dict[str, Row | None]) -> None:
        for key, row in change.items():
            if row is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = row
        self.history.append(dict(self.rows))

    def inventory(self) -> dict[str, list[tuple[str, int, int]]]:
        return {"c": [(key, home, stamp) for key, (home, stamp) in self.rows.items()]}


keys = st.lists(st.sampled_from(KEYS), min_size=1, max_size=3, unique=True)
crashes = st.sampled_from(("none", "none", "none", "before", "between"))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("upsert"), keys, crashes),
        st.tuples(st.just("delete"), keys, crashes),
        st.tuples(st.just("doubtful"), keys, st.booleans()),
        st.tuples(st.just("reopen"), st.none(), st.none()),
        st.tuples(st.just("lose"), st.integers(1, 3), st.none()),
        st.tuples(st.just("lose row"), st.sampled_from(KEYS), st.none()),
    ),
    max_size=14,
)


@given(steps)
@settings(max_examples=60, deadline=None)
def test_rows_are_as_acknowledged_or_the_loss_is_noticed(
    plan: list[tuple[str, object, object]],
) -> None:
    with TemporaryDirectory() as folder:
        _play(plan, Path(folder) / "ledger.db")


def _play(plan: list[tuple[str, object, object]], path: Path) -> None:
    engine, ledger = Engine(), Ledger(path)
    sure: dict[str, Row | None] = {}
    stolen = False
    for step, what, how in [*plan, ("reopen", None, None)]:
        match step, what:
            case "upsert", list():
                stamp = ledger.next_stamp()
                if how != "before":
                    engine.write({key: (1, stamp) for key in what})
                if how == "none":
                    ledger.record("c", 1, what, stamp)
                    sure |= {key: (1, stamp) for key in what}
                else:
                    sure = {key: row for key, row in sure.items() if key not in what}
                    ledger = _reopened(ledger, path)
                    if not _verdict(ledger, engine, sure, stolen):
                        return
            case "delete", list():
                if how != "before":
                    ledger.forget("c", what)
                if how == "none":
                    engine.write(dict.fromkeys(what))
                    sure |= dict.fromkeys(what)
                else:
                    if how == "between":
                        sure |= dict.fromkeys(what)
                    ledger = _reopened(ledger, path)
                    if not _verdict(ledger, engine, sure, stolen):
                        return
            case "doubtful", list():
                stamp = ledger.next_stamp()
                if how:
                    engine.write({key: (1, stamp) for key in what})
                ledger.doubt("c", 1, what, stamp)
                sure = {key: row for key, row in sure.items() if key not in what}
            case "lose", int():
                back = max(0, len(engine.history) - 1 - what)
                engine.rows = dict(engine.history[back])
                engine.history = engine.history[: back + 1]
                stolen = True
            case "lose row", str():
                engine.rows.pop(what, None)
                stolen = True
            case _:
                ledger = _reopened(ledger, path)
                if not _verdict(ledger, engine, sure, stolen):
                    return
    ledger.close()


def _reopened(ledger: Ledger, path: Path) -> Ledger:
    ledger.close()
    return Ledger(path)


def _verdict(ledger: Ledger, engine: Engine, sure: dict[str, Row | None], stolen: bool) -> bool:
    """Opens the engine; returns whether it goes on."""
    findings = ledger.compare(engine.inventory())
    if findings.lost:
        assert stolen, "a loss where nothing was lost"
        ledger.close()
        return False
    for strays in findings.strays.values():
        engine.write(dict.fromkeys(strays))
    for key, row in sure.items():
        assert engine.rows.get(key) == row, "a loss that nobody noticed"
    return True


def test_partitions_are_known_until_the_file_is_gone(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    assert not ledger.is_known("c", 1)
    ledger.mark_known("c", 1)
    assert (ledger.is_known("c", 1), ledger.is_known("c", 2), ledger.is_known("d", 1)) == (
        True,
        False,
        False,
    )
    ledger.close()
    again = Ledger(tmp_path / "ledger.db")
    assert again.is_known("c", 1)
    again.close()


def test_forgetting_a_partition_leaves_the_others(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    stamp = ledger.next_stamp()
    ledger.record("c", 1, ["a"], stamp)
    ledger.record("c", 2, ["b"], stamp)
    ledger.forget_partition("c", 1)
    findings = ledger.compare({"c": [("a", 1, stamp), ("b", 2, stamp)]})
    assert (findings.lost, findings.strays) == (0, {("c", 1): ["a"]})
    ledger.close()


def test_a_damaged_or_closed_ledger_says_so(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"x" * 8_192)
    with pytest.raises(LedgerError) as caught:
        Ledger(tmp_path / "ledger.db")
    assert caught.value.damaged
    with pytest.raises(LedgerError) as caught:
        Ledger(tmp_path / "absent" / "ledger.db")
    assert not caught.value.damaged
    closed = Ledger(tmp_path / "other.db")
    closed.close()
    closed.close()
    with pytest.raises(LedgerError) as caught:
        closed.is_known("c", 1)
    assert not caught.value.damaged
