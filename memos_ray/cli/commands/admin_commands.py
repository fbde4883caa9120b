"""Commands on policy: `key`, `principal`, `grant`, `namespace`, `tenant`, `whoami`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from memos_ray.cli.call import Call, with_service
from memos_ray.cli.values import VisibilityOption, moment_option
from memos_ray.core.access.context import Action
from memos_ray.core.access.model import (
    NamespaceKind,
    NamespaceMode,
    Reach,
    home_owner,
    is_home,
)

if TYPE_CHECKING:
    from memos_ray.gateway.admin.models import Change, NamespaceUsage

_PANEL = "Who may do what"

key_app = typer.Typer(no_args_is_help=True, help="API keys.")
principal_app = typer.Typer(no_args_is_help=True, help="Users, agents and services.")
grant_app = typer.Typer(no_args_is_help=True, help="Grants of actions in a namespace.")
namespace_app = typer.Typer(no_args_is_help=True, help="Namespaces.")
tenant_app = typer.Typer(no_args_is_help=True, help="Tenants.")

KeyArgument = Annotated[str, typer.Argument(metavar="KEY_ID", help="Id of the key.")]
EndsOption = Annotated[datetime | None, moment_option("--expires-at", "When it ends.")]
PrincipalArgument = Annotated[
    str, typer.Argument(metavar="PRINCIPAL", help="As user:ana, agent:planner or service:sync.")
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for name, group in (
        ("key", key_app),
        ("principal", principal_app),
        ("grant", grant_app),
        ("namespace", namespace_app),
        ("tenant", tenant_app),
    ):
        app.add_typer(group, name=name, rich_help_panel=_PANEL)
    app.command(rich_help_panel=_PANEL)(whoami)


@with_service
def whoami(call: Call) -> None:
    """Shows who the credential stands for."""
    who = call.memos.whoami()
    from memos_ray.cli.views import rendering

    call.out.show(who, lambda console: rendering.fields(console, who.model_dump(mode="json")))


@key_app.command("create")
@with_service
def create_key(
    call: Call,
    principal: PrincipalArgument,
    scope: Annotated[
        list[Action] | None,
        typer.Option("--scope", help="All that it may be used for; repeatable; default all."),
    ] = None,
    for_application: Annotated[
        str | None, typer.Option("--for-application", help="The one application that may use it.")
    ] = None,
    not_before: Annotated[
        datetime | None, moment_option("--not-before", "From when it is accepted.")
    ] = None,
    expires_at: EndsOption = None,
) -> None:
    """Issues an API key for a principal; its secret is shown this once."""
    change = call.memos.admin.issue_key(
        principal,
        scopes=scope or (),
        application=for_application,
        not_before=not_before,
        expires_at=expires_at,
    )
    _show_fields(call, change)


@key_app.command("list")
@with_service
def list_keys(call: Call) -> None:
    """Lists API keys, without their secrets."""
    found = call.memos.admin.documents().keys
    headings = ("id", "principal", "scopes", "application", "created", "expires", "state")
    rows = [
        (
            key.id,
            key.principal,
            key.scopes or "all",
            key.application,
            f"{key.created_at:%Y-%m-%d}",
            f"{key.expires_at:%Y-%m-%d %H:%M}" if key.expires_at else "",
            "revoked" if key.revoked else "",
        )
        for key in found
    ]
    _show_list(call, "keys", found, headings, rows)


@key_app.command("revoke")
@with_service
def revoke_key(call: Call, id: KeyArgument) -> None:
    """Ends a key at once and for good."""
    _show_fields(call, call.memos.admin.revoke_key(id))


@key_app.command("rotate")
@with_service
def rotate_key(
    call: Call,
    id: KeyArgument,
    overlap_s: Annotated[
        float, typer.Option("--overlap", min=0, help="Seconds for which the old one still works.")
    ] = 0.0,
) -> None:
    """Issues a successor with the same limits; its secret is shown this once."""
    _show_fields(call, call.memos.admin.rotate_key(id, overlap_s))


@key_app.command("expire")
@with_service
def expire_key(
    call: Call,
    id: KeyArgument,
    at: Annotated[datetime, moment_option("--at", "From when it is no longer accepted.")],
) -> None:
    """Sets the moment at which a key ends."""
    _show_fields(call, call.memos.admin.expire_key(id, at))


@principal_app.command("create")
@with_service
def create_principal(
    call: Call,
    principal: PrincipalArgument,
    role: Annotated[
        list[str] | None, typer.Option("--role", help="Role that it holds; repeatable.")
    ] = None,
    disabled: Annotated[bool, typer.Option("--disabled", help="It may not call at all.")] = False,
) -> None:
    """Records a principal, or changes it."""
    change = call.memos.admin.create_principal(principal, role or (), disabled=disabled)
    _show_fields(call, change)


@principal_app.command("list")
@with_service
def list_principals(call: Call) -> None:
    """Lists the principals of the tenant."""
    found = call.memos.admin.documents().principals
    rows = [(one.id, one.roles, "disabled" if one.disabled else "") for one in found]
    _show_list(call, "principals", found, ("id", "roles", "state"), rows)


@grant_app.command("create")
@with_service
def create_grant(
    call: Call,
    subject: Annotated[str, typer.Argument(help="As user:ana, agent:planner or role:reader.")],
    action: Annotated[list[Action], typer.Argument(help="What it may do.")],
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Where.")],
    reach: Annotated[
        Reach, typer.Option(help="Whether private memories of others are covered, too.")
    ] = Reach.SHARED,
    expires_at: EndsOption = None,
) -> None:
    """Grants actions in a namespace."""
    change = call.memos.admin.grant(subject, action, namespace, reach=reach, expires_at=expires_at)
    _show_fields(call, change)


@grant_app.command("list")
@with_service
def list_grants(
    call: Call,
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="Only of this one.")
    ] = None,
) -> None:
    """Lists grants."""
    found = call.memos.admin.documents(namespace).grants
    headings = ("id", "subject", "actions", "namespace", "reach", "expires")
    rows = [
        (one.id, one.subject, one.actions, one.namespace, one.reach, one.expires_at)
        for one in found
    ]
    _show_list(call, "grants", found, headings, rows)


@grant_app.command("revoke")
@with_service
def revoke_grant(
    call: Call, id: Annotated[str, typer.Argument(metavar="GRANT_ID", help="Id of the grant.")]
) -> None:
    """Takes a grant back."""
    _show_fields(call, call.memos.admin.revoke_grant(id))


@namespace_app.command("create")
@with_service
def create_namespace(
    call: Call,
    name: Annotated[str, typer.Argument(help="Such as user:ana/notes.")],
    kind: Annotated[
        NamespaceKind | None,
        typer.Option(help="What it is for; a pool, or private in a home, when absent."),
    ] = None,
    owner: Annotated[
        str | None, typer.Option(help="Whose it is; the home's, or yours, when absent.")
    ] = None,
    mode: Annotated[NamespaceMode | None, typer.Option(help="Whether it takes writes.")] = None,
    visibility: VisibilityOption = None,
    member: Annotated[
        list[str] | None, typer.Option("--member", help="Who is let in; repeatable.")
    ] = None,
    quota_bytes: Annotated[
        int | None,
        typer.Option("--quota-bytes", min=1, help="Most bytes of text that it may hold."),
    ] = None,
) -> None:
    """Makes a namespace, or changes it."""
    at_home = is_home(name)
    if kind is None:
        kind = NamespaceKind.USER_PRIVATE if at_home else NamespaceKind.CONTEXTUAL_POOL
    if owner is None and at_home:
        owner = home_owner(name)
    change = call.memos.admin.create_namespace(
        name,
        kind,
        owner=owner,
        mode=mode,
        default_visibility=visibility,
        members=member or (),
        quota_bytes=quota_bytes,
    )
    _show_fields(call, change)


@namespace_app.command("list")
@with_service
def list_namespaces(call: Call) -> None:
    """Lists the namespaces of the tenant."""
    found = call.memos.admin.documents().namespaces
    headings = ("name", "kind", "owner", "mode", "visibility", "members", "quota_bytes")
    rows = [
        (
            *(one.name, one.kind, one.owner, one.mode, one.default_visibility, one.members),
            one.quota_bytes,
        )
        for one in found
    ]
    _show_list(call, "namespaces", found, headings, rows)


@namespace_app.command("usage")
@with_service
def namespace_usage(
    call: Call,
    name: Annotated[str | None, typer.Argument(help="Yours when absent.")] = None,
) -> None:
    """Says how much a namespace holds, and what its quota is."""
    _show_fields(call, call.memos.admin.usage(name))


@tenant_app.command("create")
@with_service
def create_tenant(
    call: Call, tenant: Annotated[str, typer.Argument(metavar="TENANT", help="Its name.")]
) -> None:
    """Makes a tenant; the key of its first administrator is shown this once."""
    _show_fields(call, call.memos.admin.create_tenant(tenant))


@tenant_app.command("disable")
@with_service
def disable_tenant(
    call: Call, tenant: Annotated[str, typer.Argument(metavar="TENANT", help="Its name.")]
) -> None:
    """Stops every call of a tenant."""
    _show_fields(call, call.memos.admin.set_tenant(tenant, disabled=True))


@tenant_app.command("enable")
@with_service
def enable_tenant(
    call: Call, tenant: Annotated[str, typer.Argument(metavar="TENANT", help="Its name.")]
) -> None:
    """Lets a disabled tenant call again."""
    _show_fields(call, call.memos.admin.set_tenant(tenant, disabled=False))


def _show_fields(call: Call, answer: Change | NamespaceUsage) -> None:
    from memos_ray.cli.views import rendering

    call.out.show(answer, lambda console: rendering.fields(console, answer.model_dump()))


def _show_list(
    call: Call,
    name: str,
    found: Sequence[object],
    headings: tuple[str, ...],
    rows: Sequence[tuple[object, ...]],
) -> None:
    from memos_ray.cli.views import rendering

    call.out.show({name: found}, lambda console: rendering.rows(console, headings, rows))
