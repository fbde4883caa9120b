"""What commands write: tables for people, one JSON document for programs, problems on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from memos_ray.errors import ClientError, MemosError

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console


class Output:
    """Standard output and standard error of one command.

    Args:
        as_json: whether standard output gets one JSON document and nothing else.
    """

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def show(
        self, document: BaseModel | Mapping[str, Any], render: Callable[[Console], None]
    ) -> None:
        """Writes a result: the document itself, or what `render` makes of it for people."""
        if self.as_json:
            self._write(lambda: sys.stdout.write(_json(document) + "\n"))
            return
        from rich.console import Console

        self._write(lambda: render(Console(highlight=False)))

    def _write(self, write: Callable[[], object]) -> None:
        """Writes to standard output, to the end.

        Raises:
            ClientError: it cannot be written; what a command has done, it has done.
        """
        try:
            write()
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            # What is left in the buffer must not fail once more when the process ends.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
            raise ClientError(
                "it is done, but standard output cannot be written", reason=error.strerror
            ) from None

    def note(self, text: str) -> None:
        """Tells people at a terminal something by the way; programs hear nothing."""
        if not self.as_json and sys.stderr.isatty():
            _error_console().print(text, style="dim", markup=False)

    def fail(self, error: MemosError) -> None:
        """Writes an error: an RFC 9457 problem document, or a line for people."""
        if self.as_json:
            from memos_ray.gateway.memories.mapping import problem_of

            sys.stderr.write(_json(problem_of(error, None)) + "\n")
            return
        console = _error_console()
        console.print(f"[bold red]error[/] [dim]{error.code}[/]", end=" ")
        found = error.details.get("errors")
        if not isinstance(found, list):
            console.print(str(error), markup=False)
            return
        console.print(error.message, markup=False)
        for one in found:
            console.print(f"  {one}", markup=False)


def _error_console() -> Console:
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def _json(document: BaseModel | Mapping[str, Any]) -> str:
    if isinstance(document, Mapping):
        import orjson

        return orjson.dumps(document, default=_plain).decode()
    return document.model_dump_json()


def _plain(value: object) -> object:
    dump = getattr(value, "model_dump", None)
    return dump(mode="json") if dump is not None else str(value)
