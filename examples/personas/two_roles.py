"""One person with two roles: what the doctor remembers is none of the parent's business.

    python examples/personas/two_roles.py

Runs a whole cluster in this process tree, on a data folder that is removed at the end. Ann works
as a doctor and has two children. Each role has a stream of memories; her home is shared. Paths into
the other role's stream are tried.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from memos_ray import MemOS, NotFoundError

_HERE = Path(__file__).parent
_SHARED = ("Ann drives a green car.", "Ann is away on Thursday afternoons.")
_SAID = {
    "doctor": (
        "Mr Moss has a weak heart and must not run.",
        "The ward round begins at half past seven.",
    ),
    "parent": (
        "Tim's heart was broken when the hamster died.",
        "School begins at eight; Lea needs her gym shoes on Thursdays.",
    ),
}
_QUESTIONS = ("whose heart?", "what begins in the morning?", "Thursday")
console = Console(width=110)


def main() -> None:
    """Plays a day."""
    with tempfile.TemporaryDirectory(prefix="memos-ann-") as folder, MemOS(data=folder) as memos:
        ann = memos.as_principal("user:ann")
        for text in _SHARED:
            ann.add(text)
        roles = {}
        for name in _SAID:
            # An administrator makes the persona and gives the role with it.
            made = memos.personas.create(_HERE / f"{name}.yaml", principal="user:ann")
            console.print(f"{made.name}: remembers in {made.stream}, looks at {made.shared}")
            roles[name] = ann.personas.use(name)
            for text in _SAID[name]:
                roles[name].add(text)
        ask(roles)
        refuse(ann, roles)


def ask(roles: dict[str, MemOS]) -> None:
    """Asks the same in both roles: each finds its own stream and what is shared."""
    table = Table("asked", "role", "found")
    for question in _QUESTIONS:
        for name, speaker in roles.items():
            texts = {hit.memory.text for hit in speaker.search(question, limit=2).hits}
            other = next(one for one in _SAID if one != name)
            assert not texts & set(_SAID[other]), texts
            assert texts <= {*_SAID[name], *_SHARED}
            table.add_row(question, name, "\n".join(sorted(texts)))
    console.print(table)
    everything = {hit.memory.text for hit in roles["doctor"].search("", limit=20).hits}
    assert everything == {*_SAID["doctor"], *_SHARED}


def refuse(ann: MemOS, roles: dict[str, MemOS]) -> None:
    """Tries the paths into the doctor's stream, as the parent and without a role."""
    doctor, stream = roles["doctor"], "user:ann/doctor"
    secret = doctor.search("weak heart", limit=1).hits[0].memory
    assert secret.namespace == stream and secret.tags == ["clinic"]
    for name, speaker in (("parent", roles["parent"]), ("no role", ann)):
        attempts: dict[str, Callable[[MemOS], object]] = {
            "get": lambda client: client.get(secret.id),
            "history": lambda client: client.history(secret.id, namespace=stream),
            "search": lambda client: client.search("heart", namespace=stream),
            "list": lambda client: client.list(stream),
            "caches": lambda client: client.kv.list(stream),
            "adapters": lambda client: client.adapters.list(stream),
            "proposals": lambda client: client.organise.list(stream),
            "erase": lambda client: client.delete(secret.id, namespace=stream, hard=True),
        }
        for path, attempt in attempts.items():
            try:
                attempt(speaker)
            except NotFoundError:
                continue
            raise AssertionError(f"{path} is open to {name}")
        assert speaker.log(stream).entries == []
        console.print(f"closed to {name}: {', '.join(attempts)}, log")
    assert doctor.get(secret.id).version == 1
    purposes = {entry.purpose for entry in doctor.log(stream).entries}
    assert "treatment" in purposes
    console.rule("two streams, one person, nothing crossed")


if __name__ == "__main__":
    main()
