"""`up`, `down`, `status`: the cluster of a data folder."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memos_ray.cli.call import Call, with_folder, with_service
from memos_ray.cli.exits import ExitCode

if TYPE_CHECKING:
    from rich.console import Console

    from memos_ray.cluster.announcement import RunningCluster
    from memos_ray.gateway.memories.record_models import Health


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    panel = "The cluster"
    app.command("up", rich_help_panel=panel)(up)
    app.command("down", rich_help_panel=panel)(down)
    app.command("status", rich_help_panel=panel)(status)


@with_folder
def up(
    call: Call,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port of the REST door; 0 picks a free one."),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Run in the background.")] = False,
    report_to: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Starts the cluster of the data folder and its REST door, on this machine only.

    Returns (with `--detach`) or says so once requests are answered. In the foreground, SIGTERM or
    Ctrl-C stops it cleanly.
    """
    from memos_ray.cli.cluster import starting

    settings = call.settings
    if port is not None:
        gateway = settings.gateway.model_copy(update={"port": port})
        settings = settings.model_copy(update={"gateway": gateway})
    if detach:
        _show_running(call, starting.start_detached(settings))
    elif report_to is not None:
        starting.run_reporting(settings, report_to)
    else:
        starting.run(settings, lambda running: _show_running(call, running))


@with_folder
def down(
    call: Call,
    timeout_s: Annotated[
        float, typer.Option("--timeout", min=0.1, help="Seconds to wait for it to be gone.")
    ] = 60.0,
    kill: Annotated[
        bool, typer.Option("--kill", help="Kill it when it does not stop in time.")
    ] = False,
) -> None:
    """Stops the cluster of the data folder and waits until it is gone."""
    from memos_ray.cli.cluster.stopping import stop_cluster

    pid = stop_cluster(call.settings.data, timeout_s, kill=kill)

    def render(console: Console) -> None:
        data = call.settings.data
        console.print(f"stopped process {pid}" if pid else f"no cluster runs on {data}")

    call.out.show({"stopped": pid is not None, "pid": pid}, render)


@with_service
def status(call: Call) -> None:
    """Shows the cluster and its parts."""
    from memos_ray.cluster.announcement import running_cluster

    health = call.health()
    place = call.place
    running = None
    if place.url is None and place.address is None:
        running = running_cluster(call.settings.data)
    document: dict[str, Any] = {"cluster": asdict(running) if running else None, "health": health}
    call.out.show(document, lambda console: _render_status(console, running, health))
    if health.status == "down":
        raise typer.Exit(ExitCode.UNAVAILABLE)


def _show_running(call: Call, running: RunningCluster) -> None:
    from memos_ray.cluster.folder import DataFolder

    folder = DataFolder(call.settings.data)
    places = {"data": str(folder.root), "admin_key_file": str(folder.admin_key)}

    def render(console: Console) -> None:
        console.print(f"memos-ray {running.version} answers at [bold]{running.url}[/]")
        console.print(f"data folder {folder.root}, process {running.pid}", markup=False)
        console.print(f"admin key in {folder.admin_key}", markup=False)

    call.out.show({**asdict(running), **places}, render)


def _render_status(console: Console, running: RunningCluster | None, health: Health) -> None:
    from memos_ray.cli.views import rendering

    colour = {"ok": "green", "degraded": "yellow", "down": "red"}
    console.print(f"memos-ray {health.version}: [{colour[health.status]}]{health.status}[/]")
    if running is not None:
        console.print(f"{running.url}, process {running.pid}, since {running.started_at}")
    table = rendering.table("part", "status", "details")
    for part in health.components:
        details = ", ".join(f"{name} {value}" for name, value in part.detail.items())
        table.add_row(part.name, f"[{colour[part.status]}]{part.status}[/]", details)
    console.print(table)
