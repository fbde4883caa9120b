"""Commands on one memory: `add`, `get`, `update`, `delete`, `restore`, `share`, `freeze`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from memos_ray.cli.call import Call, with_service
from memos_ray.cli.values import (
    AttributesOption,
    ClearOption,
    ComplianceOption,
    EventTimeOption,
    ExpectedOption,
    ExpiresOption,
    HalfLifeOption,
    IdempotencyOption,
    MemoryArgument,
    NamespaceOption,
    PriorityOption,
    ReadersOption,
    ReasonOption,
    SensitivityOption,
    SharersOption,
    TagsOption,
    TypeOption,
    ValidFromOption,
    ValidToOption,
    VisibilityOption,
    WritersOption,
    attributes_of,
    cleared,
    given,
    seconds_of,
    text_of,
)
from memos_ray.core.vault.operations import UpdateMode

if TYPE_CHECKING:
    from memos_ray.gateway.memories.models import WriteResult


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    panel = "Memories"
    for command in (add, get, update, delete, restore, share, freeze, unfreeze):
        app.command(rich_help_panel=panel)(command)


@with_service
def add(
    call: Call,
    text: Annotated[str, typer.Argument(help="What to remember; - reads standard input.")],
    namespace: NamespaceOption = None,
    id: Annotated[str | None, typer.Option("--id", help="Id; made up when absent.")] = None,
    type: TypeOption = None,
    tag: TagsOption = None,
    attribute: AttributesOption = None,
    conversation: Annotated[str | None, typer.Option(help="Conversation or document.")] = None,
    session: Annotated[str | None, typer.Option(help="Session in the conversation.")] = None,
    position: Annotated[
        int | None, typer.Option(min=0, help="Place in the conversation, from 0.")
    ] = None,
    speaker: Annotated[str | None, typer.Option(help="Who said it.")] = None,
    role: Annotated[str | None, typer.Option(help="Chat role, such as user or assistant.")] = None,
    event_time: EventTimeOption = None,
    valid_from: ValidFromOption = None,
    valid_to: ValidToOption = None,
    expires_at: ExpiresOption = None,
    half_life_days: HalfLifeOption = None,
    legal_hold: Annotated[
        bool, typer.Option("--legal-hold", help="Nothing takes it away until it is released.")
    ] = False,
    priority: PriorityOption = None,
    sensitivity: SensitivityOption = None,
    compliance: ComplianceOption = None,
    watermark: Annotated[
        str | None, typer.Option(help="Whose content it is; texts made of it bear it, too.")
    ] = None,
    visibility: VisibilityOption = None,
    reader: ReadersOption = None,
    writer: WritersOption = None,
    sharer: SharersOption = None,
    reason: ReasonOption = None,
    idempotency_key: IdempotencyOption = None,
) -> None:
    """Stores a memory; it is durable when this returns."""
    fields = given(
        id=id,
        semantic_type=type,
        tags=tag,
        attributes=attributes_of(attribute),
        conversation=conversation,
        session=session,
        position=position,
        speaker=speaker,
        role=role,
        event_time=event_time,
        valid_from=valid_from,
        valid_to=valid_to,
        expires_at=expires_at,
        half_life_s=seconds_of(half_life_days),
        legal_hold=legal_hold or None,
        priority=priority,
        sensitivity=sensitivity,
        compliance=compliance,
        watermark=watermark,
        visibility=visibility,
        readers=reader,
        writers=writer,
        sharers=sharer,
        reason=reason,
        idempotency_key=idempotency_key,
    )
    _show_written(call, call.memos.add(text_of(text), namespace, **fields))


@with_service
def get(
    call: Call,
    id: MemoryArgument,
    namespace: NamespaceOption = None,
    version: Annotated[int | None, typer.Option(min=1, help="Older version to show.")] = None,
) -> None:
    """Shows a memory."""
    found = call.memos.get(id, namespace=namespace, version=version)
    from memos_ray.cli.views import rendering

    call.out.show(found, lambda console: rendering.memory(console, found))


@with_service
def update(
    call: Call,
    id: MemoryArgument,
    text: Annotated[
        str | None, typer.Argument(help="New text; - reads standard input; absent: unchanged.")
    ] = None,
    mode: Annotated[
        UpdateMode, typer.Option(help="Add to it, replace what is given, or replace all.")
    ] = UpdateMode.MERGE,
    namespace: NamespaceOption = None,
    type: TypeOption = None,
    tag: TagsOption = None,
    attribute: AttributesOption = None,
    event_time: EventTimeOption = None,
    valid_from: ValidFromOption = None,
    valid_to: ValidToOption = None,
    expires_at: ExpiresOption = None,
    half_life_days: HalfLifeOption = None,
    clear: ClearOption = None,
    priority: PriorityOption = None,
    sensitivity: SensitivityOption = None,
    compliance: ComplianceOption = None,
    expected_version: ExpectedOption = None,
    reason: ReasonOption = None,
    idempotency_key: IdempotencyOption = None,
) -> None:
    """Makes a new version of a memory."""
    fields = given(
        semantic_type=type,
        tags=tag,
        attributes=attributes_of(attribute),
        event_time=event_time,
        valid_from=valid_from,
        valid_to=valid_to,
        expires_at=expires_at,
        half_life_s=seconds_of(half_life_days),
        priority=priority,
        sensitivity=sensitivity,
        compliance=compliance,
        expected_version=expected_version,
        reason=reason,
        idempotency_key=idempotency_key,
    )
    fields |= cleared(clear, fields)
    words = None if text is None else text_of(text)
    _show_written(call, call.memos.update(id, words, mode=mode, namespace=namespace, **fields))


@with_service
def delete(
    call: Call,
    id: MemoryArgument,
    hard: Annotated[
        bool, typer.Option("--hard", help="Erase it for good, with its history.")
    ] = False,
    namespace: NamespaceOption = None,
    expected_version: ExpectedOption = None,
    reason: ReasonOption = None,
    idempotency_key: IdempotencyOption = None,
) -> None:
    """Deletes a memory; `restore` brings it back, unless it was erased with --hard."""
    result = call.memos.delete(
        id,
        hard=hard,
        namespace=namespace,
        expected_version=expected_version,
        reason=reason,
        idempotency_key=idempotency_key,
    )
    _show_written(call, result)


@with_service
def restore(
    call: Call,
    id: MemoryArgument,
    namespace: NamespaceOption = None,
    reason: ReasonOption = None,
    idempotency_key: IdempotencyOption = None,
) -> None:
    """Undoes a deletion."""
    result = call.memos.restore(
        id, namespace=namespace, reason=reason, idempotency_key=idempotency_key
    )
    _show_written(call, result)


@with_service
def share(
    call: Call,
    id: MemoryArgument,
    reader: ReadersOption = None,
    writer: WritersOption = None,
    sharer: SharersOption = None,
    remove: Annotated[
        list[str] | None, typer.Option("--remove", help="Who loses all of it; repeatable.")
    ] = None,
    visibility: VisibilityOption = None,
    namespace: NamespaceOption = None,
    expected_version: ExpectedOption = None,
    reason: ReasonOption = None,
    idempotency_key: IdempotencyOption = None,
) -> None:
    """Changes who may reach a memory."""
    result = call.memos.share(
        id,
        readers=reader or (),
        writers=writer or (),
        sharers=sharer or (),
        remove=remove or (),
        visibility=visibility,
        namespace=namespace,
        expected_version=expected_version,
        reason=reason,
        idempotency_key=idempotency_key,
    )
    _show_written(call, result)


@with_service
def freeze(
    call: Call, id: MemoryArgument, namespace: NamespaceOption = None, reason: ReasonOption = None
) -> None:
    """Forbids every change of a memory."""
    _show_written(call, call.memos.freeze(id, namespace=namespace, reason=reason))


@with_service
def unfreeze(
    call: Call, id: MemoryArgument, namespace: NamespaceOption = None, reason: ReasonOption = None
) -> None:
    """Allows changes of a frozen memory again."""
    _show_written(call, call.memos.unfreeze(id, namespace=namespace, reason=reason))


def _show_written(call: Call, result: WriteResult) -> None:
    from memos_ray.cli.views import rendering

    call.out.show(result, lambda console: rendering.wrote(console, result))
