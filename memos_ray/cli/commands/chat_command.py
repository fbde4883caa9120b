"""Talk to a model that remembers: `chat`, and which models there are: `models`."""

from __future__ import annotations

from typing import Annotated

import typer

from memos_ray.cli.call import Call, with_service
from memos_ray.cli.values import NamespaceOption


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (chat, convert, models):
        app.command(rich_help_panel="Models")(command)


@with_service
def chat(
    call: Call,
    text: Annotated[str, typer.Argument(help="What you say.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Which model; the only one there is.")
    ] = None,
    namespace: Annotated[
        list[str] | None,
        typer.Option("--namespace", "-n", help="Whose memories; repeatable; your own home."),
    ] = None,
    memory: Annotated[str, typer.Option(help="off, read or read_write.")] = "read",
    session: Annotated[
        str | None, typer.Option(help="The conversation that a remembered turn belongs to.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="Instructions for the model.")] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 256,
    temperature: Annotated[float, typer.Option(min=0, max=2, help="0 is repeatable.")] = 1.0,
    explain: Annotated[
        bool, typer.Option("--explain", "-e", help="Show in which form each memory went in.")
    ] = False,
) -> None:
    """Says something to a model, with your memories before it."""
    messages = [{"role": "user", "content": text}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    fields = {} if namespace is None else {"namespaces": namespace}
    if session is not None:
        fields["session"] = session  # type: ignore[assignment]
    answer = call.memos.chat(
        messages,
        model,
        memory=memory,
        max_tokens=max_tokens,
        temperature=temperature,
        explain=explain,
        **fields,
    )
    from memos_ray.cli.views import rendering

    call.out.show(answer, lambda console: rendering.answer(console, answer))


@with_service
def convert(
    call: Call,
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Memories of one namespace.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Which model; the only one there is.")
    ] = None,
    namespace: NamespaceOption = None,
) -> None:
    """Makes memories the beginning of every prompt of their namespace, with a KV cache."""
    from memos_ray.cli.views import rendering

    result = call.memos.convert(ids, model, namespace=namespace)
    call.out.show(result, lambda console: rendering.wrote(console, result))


@with_service
def models(call: Call) -> None:
    """Lists the models that can be asked."""
    names = call.memos.models()
    shown = "\n".join(names) or "no models"
    call.out.show({"models": names}, lambda console: console.print(shown, markup=False))
