"""Find and follow memories: `search`, `list`, `history`, `diff`, `rollback`, `log`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from memos_ray.cli.call import Call, with_service
from memos_ray.cli.commands.understand_command import TurnsOption, turns_of
from memos_ray.cli.values import (
    CursorOption,
    ExpectedOption,
    IdempotencyOption,
    LimitOption,
    MemoryArgument,
    NamespaceOption,
    ReasonOption,
    TagsOption,
    given,
    moment_option,
)


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("search", rich_help_panel="Memories")(search)
    app.command("list", rich_help_panel="Memories")(list_memories)
    for command in (history, diff, rollback, log):
        app.command(rich_help_panel="Versions and audit")(command)


FilterOption = Annotated[
    str | None,
    typer.Option("--filter", "-f", help="Such as 'tags:work and event_time >= 2023-05-01'."),
]


@with_service
def search(
    call: Call,
    query: Annotated[str, typer.Argument(help="What is wanted, in words.")],
    namespace: Annotated[
        list[str] | None,
        typer.Option("--namespace", "-n", help="Where to look; repeatable; your own home."),
    ] = None,
    filter: FilterOption = None,
    tag: TagsOption = None,
    since: Annotated[
        datetime | None, moment_option("--since", "Only what was said or happened from then on.")
    ] = None,
    until: Annotated[datetime | None, moment_option("--until", "Only what came before.")] = None,
    as_of: Annotated[
        datetime | None, moment_option("--as-of", "Search what was known at that moment.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", "-e", help="Show where each score comes from.")
    ] = False,
    parse: Annotated[
        bool, typer.Option(help="Take names, times and limits from the words of the query.")
    ] = True,
    wait_indexed: Annotated[
        bool, typer.Option("--wait-indexed", help="Wait until earlier writes are embedded.")
    ] = False,
    min_relevance: Annotated[
        float, typer.Option(min=0, max=1, help="Leave out what is less likely to matter.")
    ] = 0.0,
    ended: Annotated[bool, typer.Option("--ended", help="Also what has ceased to hold.")] = False,
    archived: Annotated[
        bool, typer.Option("--archived", help="Also what has been put away.")
    ] = False,
    turns: TurnsOption = None,
    route: Annotated[
        bool,
        typer.Option("--route", help="Look wherever you may read, first where it is spoken of."),
    ] = False,
    token: Annotated[
        str | None, typer.Option("--token", help="Token of a write that must be seen.")
    ] = None,
    cursor: CursorOption = None,
    limit: LimitOption = 10,
) -> None:
    """Finds memories by meaning, words, names and times."""
    fields = given(
        filter=filter,
        tags=tag,
        since=since,
        until=until,
        as_of=as_of,
        token=token,
        cursor=cursor,
        turns=turns_of(turns),
    )
    result = call.memos.search(
        query,
        namespace=namespace,
        limit=limit,
        explain=explain,
        parse=parse,
        wait_indexed=wait_indexed,
        min_relevance=min_relevance,
        include_ended=ended,
        include_archived=archived,
        route=route,
        **fields,
    )
    from memos_ray.cli.views import rendering

    call.out.show(result, lambda console: rendering.hits(console, result))


@with_service
def list_memories(
    call: Call,
    namespace: NamespaceOption = None,
    filter: FilterOption = None,
    tag: TagsOption = None,
    deleted: Annotated[bool, typer.Option("--deleted", help="Deleted ones, too.")] = False,
    all_pages: Annotated[bool, typer.Option("--all", help="All pages, not only one.")] = False,
    cursor: CursorOption = None,
    limit: LimitOption = 20,
) -> None:
    """Lists the memories of a namespace, newest first."""
    from memos_ray.cli.views import rendering
    from memos_ray.gateway.memories.models import MemoryPage

    if all_pages:
        every = call.memos.iterate(
            namespace, filter=filter, tags=tag or (), include_deleted=deleted
        )
        page = MemoryPage(memories=list(every))
    else:
        page = call.memos.list(
            namespace,
            filter=filter,
            tags=tag or (),
            include_deleted=deleted,
            cursor=cursor,
            limit=limit,
        )
    call.out.show(page, lambda console: rendering.memories(console, page))


@with_service
def history(
    call: Call,
    id: MemoryArgument,
    namespace: NamespaceOption = None,
    cursor: CursorOption = None,
    limit: LimitOption = 50,
) -> None:
    """Lists the versions of a memory, newest first."""
    found = call.memos.history(id, namespace=namespace, cursor=cursor, limit=limit)
    from memos_ray.cli.views import rendering

    call.out.show(found, lambda console: rendering.history(console, found))


@with_service
def diff(
    call: Call,
    id: MemoryArgument,
    before: Annotated[int, typer.Argument(min=1, help="One version.")],
    after: Annotated[int, typer.Argument(min=1, help="The other one.")],
    namespace: NamespaceOption = None,
) -> None:
    """Shows what differs between two versions of a memory."""
    found = call.memos.diff(id, before, after, namespace=namespace)
    from memos_ray.cli.views import rendering

    call.out.show(found, lambda console: rendering.diff(console, found))


@with_service
def rollback(
    call: Call,
    id: MemoryArgument,
    to: Annotated[int, typer.Argument(min=1, help="Version whose content is wanted again.")],
    namespace: NamespaceOption = None,
    expected_version: ExpectedOption = None,
    reason: ReasonOption = None,
    idempotency_key: IdempotencyOption = None,
) -> None:
    """Makes a new version with the content of an older one."""
    result = call.memos.rollback(
        id,
        to,
        namespace=namespace,
        expected_version=expected_version,
        reason=reason,
        idempotency_key=idempotency_key,
    )
    from memos_ray.cli.views import rendering

    call.out.show(result, lambda console: rendering.wrote(console, result))


@with_service
def log(
    call: Call,
    namespace: NamespaceOption = None,
    principal: Annotated[str | None, typer.Option(help="Only what this one did.")] = None,
    operation: Annotated[str | None, typer.Option(help="Only this kind of operation.")] = None,
    memory: Annotated[str | None, typer.Option("--memory", help="Only about this one.")] = None,
    request: Annotated[str | None, typer.Option("--request", help="Only this request.")] = None,
    response: Annotated[
        str | None, typer.Option("--response", help="The memories that this answer was given.")
    ] = None,
    outcome: Annotated[
        str | None, typer.Option("--outcome", help="`done`, `denied` or `failed`.")
    ] = None,
    form: Annotated[
        str | None, typer.Option("--form", help="Only about one memory that is in this form.")
    ] = None,
    since: Annotated[datetime | None, moment_option("--since", "From then on.")] = None,
    until: Annotated[datetime | None, moment_option("--until", "Before then.")] = None,
    reads: Annotated[
        bool, typer.Option("--reads", help="Reads and answers instead of changes.")
    ] = False,
    everywhere: Annotated[bool, typer.Option("--everywhere", help="All namespaces.")] = False,
    cursor: CursorOption = None,
    limit: LimitOption = 50,
) -> None:
    """Reads the log of a namespace, oldest first; your own entries, or all for administrators."""
    page = call.memos.log(
        namespace,
        principal=principal,
        operation=operation,
        memory_id=memory,
        request_id=request,
        response=response,
        outcome=outcome,
        form=form,
        since=since,
        until=until,
        reads=reads,
        everywhere=everywhere,
        cursor=cursor,
        limit=limit,
    )
    from memos_ray.cli.views import rendering

    call.out.show(page, lambda console: rendering.log(console, page))
