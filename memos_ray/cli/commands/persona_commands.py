"""The caller's roles: `memos-ray persona create|ls|show|use|delete`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memos_ray.cli.call import Call, with_service
from memos_ray.cli.values import TagsOption, given

if TYPE_CHECKING:
    from rich.console import Console

    from memos_ray.gateway.personas.models import PersonaInfo

_NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the persona.")]
_PrincipalOption = Annotated[
    str | None, typer.Option("--principal", help="Whose; your own when absent.")
]


def register(app: typer.Typer) -> None:
    """Adds the group."""
    group = typer.Typer(no_args_is_help=True, help="Your roles, each with memories of its own.")
    group.command("ls")(list_personas)
    for command in (create, show, use, delete):
        group.command()(command)
    app.add_typer(group, name="persona", rich_help_panel="Access")


@with_service
def create(
    call: Call,
    name: _NameArgument,
    template: Annotated[
        Path | None,
        typer.Option("--template", metavar="FILE", help="A role template in YAML."),
    ] = None,
    role: Annotated[
        str | None, typer.Option("--role", help="Role in use; as the persona is called.")
    ] = None,
    shared: Annotated[
        list[str] | None,
        typer.Option("--shared", help="Namespace to look at besides the stream; repeatable."),
    ] = None,
    creates: Annotated[
        list[str] | None,
        typer.Option("--creates", help="Namespace to make with it, and to share; repeatable."),
    ] = None,
    preface: Annotated[
        str | None, typer.Option("--preface", help="What stands before its conversations.")
    ] = None,
    stated: Annotated[
        str | None,
        typer.Option("--default-purpose", help="Purpose of its calls that state none."),
    ] = None,
    tags: TagsOption = None,
    half_life_days: Annotated[
        float | None,
        typer.Option("--half-life-days", min=0.001, help="Its memories cool down by half in."),
    ] = None,
    principal: _PrincipalOption = None,
) -> None:
    """Makes a persona, or changes it; a role that is not held yet takes an administrator."""
    fields = given(name=name, role=role, shared=shared, preface=preface, purpose=stated, tags=tags)
    if creates:
        fields["creates"] = [{"name": place} for place in creates]
    if half_life_days is not None:
        fields["half_life_s"] = half_life_days * 86_400
    made = call.memos.personas.create(template, principal=principal, **fields)
    call.out.show(made, lambda console: _shown(console, made))


@with_service
def list_personas(call: Call, principal: _PrincipalOption = None) -> None:
    """Lists personas; the one in use has a star."""
    found = call.memos.personas.list(principal=principal)

    def render(console: Console) -> None:
        from rich.text import Text

        for one in found.personas:
            mark = "*" if one.in_use else " "
            note = "" if one.held else "  (the role is not held)"
            console.print(Text(f"{mark} {one.name}  role {one.role}, stream {one.stream}{note}"))

    call.out.show(found, render)


@with_service
def show(call: Call, name: _NameArgument, principal: _PrincipalOption = None) -> None:
    """Shows a persona."""
    found = call.memos.personas.show(name, principal=principal)
    call.out.show(found, lambda console: _shown(console, found))


@with_service
def use(call: Call, name: _NameArgument) -> None:
    """Prints what makes a shell speak as a persona: eval "$(memos-ray persona use NAME)"."""
    role = call.memos.personas.role_of(name)
    line = f"export MEMOS_CLIENT__ROLE={shlex.quote(role)}"
    call.out.show({"name": name, "role": role}, lambda console: console.print(line, markup=False))


@with_service
def delete(call: Call, name: _NameArgument, principal: _PrincipalOption = None) -> None:
    """Ends the use of a persona; what it remembers stays closed to your other roles."""
    found = call.memos.personas.delete(name, principal=principal)
    call.out.show(found, lambda console: _shown(console, found))


def _shown(console: Console, one: PersonaInfo) -> None:
    from rich.text import Text

    state = "retired" if one.retired else "in use" if one.in_use else "not in use"
    console.print(Text(f"{one.name}: {one.principal} as {one.role}, {state}"))
    console.print(Text(f"  remembers in {one.stream}, looks at {', '.join(one.shared) or '-'}"))
    console.print(Text(f"  purpose {one.purpose or '-'}, tags {', '.join(one.tags) or '-'}"))
    if one.half_life_s is not None:
        console.print(Text(f"  half-life {one.half_life_s / 86_400:g} days"))
    if one.preface:
        console.print(Text(f"  {one.preface}"))
