"""See and steer KV caches: `memos-ray kv ls|explain|pin|evict`."""

from __future__ import annotations

from typing import Annotated

import typer

from memos_ray.cli.call import Call, with_service
from memos_ray.cli.values import NamespaceOption

_IdArgument = Annotated[str, typer.Argument(metavar="ID", help="An activation memory.")]


def register(app: typer.Typer) -> None:
    """Adds the group."""
    group = typer.Typer(no_args_is_help=True, help="KV caches of memories.")
    group.command("ls")(list_caches)
    for command in (explain, pin, evict):
        group.command()(command)
    app.add_typer(group, name="kv", rich_help_panel="Models")


@with_service
def list_caches(call: Call, namespace: NamespaceOption = None) -> None:
    """Lists the activation memories of a namespace, and where their caches are."""
    from memos_ray.cli.views import kv_rendering

    found = call.memos.kv.list(namespace)
    shown = {"caches": [cache.model_dump(mode="json") for cache in found]}
    call.out.show(shown, lambda console: kv_rendering.caches(console, found))


@with_service
def explain(call: Call, id: _IdArgument, namespace: NamespaceOption = None) -> None:
    """Says where a cache is and why, what it is worth, and what it was computed from."""
    from memos_ray.cli.views import kv_rendering

    found = call.memos.kv.explain(id, namespace=namespace)
    call.out.show(found, lambda console: kv_rendering.cache(console, found))


@with_service
def pin(
    call: Call,
    id: _IdArgument,
    namespace: NamespaceOption = None,
    off: Annotated[bool, typer.Option("--off", help="No longer.")] = False,
) -> None:
    """Has a cache stay whatever else needs room."""
    from memos_ray.cli.views import rendering

    result = call.memos.kv.pin(id, pinned=not off, namespace=namespace)
    call.out.show(result, lambda console: rendering.wrote(console, result))


@with_service
def evict(call: Call, id: _IdArgument, namespace: NamespaceOption = None) -> None:
    """Lets go of a cache, hot and at rest; the next prompt has it computed again."""
    from memos_ray.cli.views import kv_rendering

    found = call.memos.kv.evict(id, namespace=namespace)
    call.out.show(found, lambda console: kv_rendering.cache(console, found))
