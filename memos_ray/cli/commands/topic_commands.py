"""The order among memories: `memos-ray topics …` and `memos-ray graph …`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from memos_ray.cli.call import Call, with_service
from memos_ray.cli.values import CursorOption, MemoryArgument, NamespaceOption

if TYPE_CHECKING:
    from rich.console import Console

    from memos_ray.gateway.browsing.models import (
        EntityList,
        LayerList,
        PredictionList,
        RelatedList,
        RoutePlan,
        TopicList,
        TopicPage,
    )

_MostOption = Annotated[int, typer.Option("--limit", "-l", min=1, max=200, help="Most results.")]
_NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Id or label of a topic or concept.")
]
_SHOWN = 72


def register(app: typer.Typer) -> None:
    """Adds the groups."""
    group = typer.Typer(no_args_is_help=True, help="What memories are about.")
    group.command("ls")(list_topics)
    for command in (tree, show, tags, route, layers):
        group.command()(command)
    app.add_typer(group, name="topics", rich_help_panel="Memories")
    graph = typer.Typer(no_args_is_help=True, help="What memories have to do with one another.")
    for command in (entities, related):
        graph.command()(command)
    app.add_typer(graph, name="graph", rich_help_panel="Memories")


@with_service
def list_topics(call: Call, namespace: NamespaceOption = None) -> None:
    """Lists the topics of a namespace, the largest first."""
    found = call.memos.topics.list(namespace)
    call.out.show(found, lambda console: _topics(console, found, concepts=False))


@with_service
def tree(call: Call, namespace: NamespaceOption = None) -> None:
    """Lists the topics of a namespace with the concepts in each."""
    found = call.memos.topics.list(namespace)
    call.out.show(found, lambda console: _topics(console, found, concepts=True))


@with_service
def show(
    call: Call,
    name: _NameArgument,
    namespace: NamespaceOption = None,
    cursor: CursorOption = None,
    limit: _MostOption = 20,
) -> None:
    """Shows a topic, or a concept, with its memories, the newest first."""
    found = call.memos.topics.show(name, namespace=namespace, cursor=cursor, limit=limit)
    call.out.show(found, lambda console: _page(console, found))


@with_service
def tags(call: Call, id: MemoryArgument, namespace: NamespaceOption = None) -> None:
    """Says what is predicted of a memory, and why."""
    found = call.memos.topics.tags(id, namespace=namespace)
    call.out.show(found, lambda console: _tags(console, found))


@with_service
def route(
    call: Call,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What is wanted, in words.")],
) -> None:
    """Plans where `search --route` goes, without searching."""
    found = call.memos.topics.route(query)
    call.out.show(found, lambda console: _plan(console, found))


@with_service
def layers(call: Call) -> None:
    """Lists the namespaces that you may read, by layer."""
    found = call.memos.topics.layers()
    call.out.show(found, lambda console: _layers(console, found))


@with_service
def entities(call: Call, namespace: NamespaceOption = None, limit: _MostOption = 50) -> None:
    """Lists the names that most memories tell, and who speaks."""
    found = call.memos.graph.entities(namespace, limit=limit)
    call.out.show(found, lambda console: _entities(console, found))


@with_service
def related(
    call: Call, id: MemoryArgument, namespace: NamespaceOption = None, limit: _MostOption = 10
) -> None:
    """Says what a memory has to do with others: sources, order in time, words."""
    found = call.memos.graph.related(id, namespace=namespace, limit=limit)
    call.out.show(found, lambda console: _related(console, found))


def _topics(console: Console, found: TopicList, *, concepts: bool) -> None:
    from rich.text import Text

    for topic in found.topics:
        console.print(Text(f"{topic.id}  {topic.memories:>6}  {topic.label}"))
        for one in topic.concepts if concepts else ():
            console.print(Text(f"  {one.id}  {one.memories:>6}  {one.label}"))
    if found.waiting:
        console.print("Some memories are still to be sorted in.")
    if not found.resident:
        console.print("The namespace exceeds the memory budget; it has no topics.")


def _page(console: Console, found: TopicPage) -> None:
    from rich.text import Text

    shown = found.concept or found.topic
    console.print(Text(f"{shown.id}  {shown.memories}  {shown.label}"))
    for one in found.memories:
        console.print(Text(f"  {one.id}  {_start(one.text)}"))
    if found.cursor:
        console.print(Text(f"more: --cursor {found.cursor}"))


def _tags(console: Console, found: PredictionList) -> None:
    from rich.text import Text

    for one in found.predicted:
        head = f"{one.kind.value}: {one.value}  {one.confidence:.2f}  {one.model}"
        console.print(Text(head), Text(f"  {'; '.join(one.reasons)}"), sep="\n")


def _plan(console: Console, found: RoutePlan) -> None:
    from rich.text import Text

    for number, step in enumerate(found.steps, 1):
        console.print(Text(f"{number}. {step.namespace} ({step.layer.value})"))
        for topic in step.topics:
            console.print(Text(f"   {topic.label}: {topic.concept}  {topic.alike:.2f}"))
        console.print(Text(f"   {'; '.join(step.reasons)}"))
    for name, why in found.left_out.items():
        console.print(Text(f"-  {name}: {why}"))


def _layers(console: Console, found: LayerList) -> None:
    from rich.text import Text

    for layer, names in found.layers.items():
        console.print(Text(f"{layer.value}: {', '.join(names) or '-'}"))


def _entities(console: Console, found: EntityList) -> None:
    from rich.text import Text

    for one in found.entities:
        console.print(Text(f"{one.memories:>6}  {one.name}{'  (speaks)' if one.speaks else ''}"))


def _related(console: Console, found: RelatedList) -> None:
    from rich.text import Text

    for one in found.related:
        steps = f", {one.steps} steps" if one.steps > 1 else ""
        head = f"{one.relation.value}  {one.memory.id}  {_start(one.memory.text)}"
        console.print(Text(head), Text(f"  {one.why}{steps}"), sep="\n")


def _start(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}\u2026"
