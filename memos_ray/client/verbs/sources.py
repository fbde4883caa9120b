"""Trusted sources: `memos.sources`."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memos_ray.client.arguments import check, valid
from memos_ray.core.sources import Stage
from memos_ray.errors import InvalidInputError, NotFoundError
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.sources.models import (
    Deciding,
    DecisionReport,
    FindingList,
    NewSource,
    SourceInfo,
    SourceList,
)

if TYPE_CHECKING:
    from memos_ray.client.http.sources import HttpSources
    from memos_ray.gateway.sources.service import SourceService

_MARKDOWN, _PDF = frozenset((".md", ".markdown")), ".pdf"


class AsyncSources:
    """Authoritative documents, and what they supersede."""

    def __init__(self, api: HttpSources | SourceService, caller: Callable[[], Caller]) -> None:
        self._api = api
        self._caller = caller

    async def add(
        self,
        document: str | Path,
        *,
        name: str,
        issuer: str,
        valid_from: datetime,
        namespace: str | None = None,
        **fields: Any,
    ) -> SourceInfo:
        """Adds an edition, and compares it with what is held; adding it again goes on with it.

        Args:
            document: a Markdown, text or PDF file, or the text itself.
            name: what all editions of the document are called.
            valid_from: from when the edition holds.
            fields: other fields of `NewSource`, such as `trust` and `format`.

        Raises:
            PermissionDeniedError: the caller does not administer the namespace.
            ConflictError: the edition is there with another text or rank.
        """
        check(namespace=namespace)
        read = {"text": document} if isinstance(document, str) else _read(document)
        given = {"name": name, "issuer": issuer, "valid_from": valid_from, **read, **fields}
        new = valid(NewSource, **given)
        added = info = await self._api.add(self._caller(), new, namespace)
        while info.stage is not Stage.READY:
            info = await self._api.compare(self._caller(), info.id, namespace)
        return info.model_copy(update={"pages_without_text": added.pages_without_text})

    async def list(self, namespace: str | None = None) -> SourceList:
        """Lists the sources of a namespace."""
        check(namespace=namespace)
        return await self._api.list(self._caller(), namespace)

    async def review(
        self,
        source: str | None = None,
        *,
        namespace: str | None = None,
        decided: bool = False,
        limit: int = 50,
    ) -> FindingList:
        """Shows what sources would supersede, with reasons and both texts, the surest first.

        Args:
            source: id of one source; all when absent.
            decided: those that were decided instead of the open ones.
        """
        check(namespace=namespace, limit=limit, **({} if source is None else {"id": source}))
        return await self._api.findings(
            self._caller(), namespace, source=source, decided=decided, limit=limit
        )

    async def accept(
        self,
        ids: Sequence[str] | None = None,
        *,
        source: str | None = None,
        namespace: str | None = None,
    ) -> DecisionReport:
        """Ends the validity of what is held; nothing is deleted.

        Args:
            ids: of findings.
            source: in place of `ids`: all findings of a source that it is not outranked in.

        Returns:
            The outcome of each finding.
        """
        return await self._decide(ids, source, namespace, accept=True)

    async def refuse(
        self,
        ids: Sequence[str] | None = None,
        *,
        source: str | None = None,
        namespace: str | None = None,
    ) -> DecisionReport:
        """Leaves what is held as it is; it is not found again. Else as `accept`."""
        return await self._decide(ids, source, namespace, accept=False)

    async def _decide(
        self, ids: Sequence[str] | None, source: str | None, namespace: str | None, *, accept: bool
    ) -> DecisionReport:
        check(namespace=namespace)
        which = valid(Deciding, ids=None if ids is None else [*ids], source=source)
        report = await self._api.decide(self._caller(), which, namespace, accept=accept)
        results, more = report.results, report.more
        while more:
            report = await self._api.decide(self._caller(), which, namespace, accept=accept)
            results, more = [*results, *report.results], report.more
        return DecisionReport(results=results)


def _read(path: Path) -> dict[str, str]:
    try:
        content = path.read_bytes()
        if path.suffix.lower() == _PDF:
            return {"pdf": b64encode(content).decode()}
        format = "markdown" if path.suffix.lower() in _MARKDOWN else "text"
        return {"text": content.decode("utf-8"), "format": format}
    except FileNotFoundError:
        raise NotFoundError("there is no such file", file=str(path)) from None
    except (OSError, UnicodeDecodeError):
        raise InvalidInputError("the file cannot be read as text", file=str(path)) from None
