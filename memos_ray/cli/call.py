"""One call of a command: where the service is, who calls, and how the answer is written."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec, TypeVar

import typer

from memos_ray.cli.exits import exit_code_of
from memos_ray.cli.output import Output
from memos_ray.errors import InvalidInputError, MemosError

if TYPE_CHECKING:
    from memos_ray.client.sync.memos import MemOS
    from memos_ray.config import Settings
    from memos_ray.gateway.memories.record_models import Health

P = ParamSpec("P")
T = TypeVar("T")

_NOBODY = "nobody"
_WHERE = "Which service, and who calls"

DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="FOLDER", help="Data folder of the cluster.", rich_help_panel=_WHERE
    ),
]
UrlOption = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="REST door to use.", rich_help_panel=_WHERE),
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="HOST:PORT",
        help="Head node of a Ray cluster to join.",
        rich_help_panel=_WHERE,
    ),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--api-key",
        metavar="KEY",
        help="Credential; other users may see it here, so prefer MEMOS_CLIENT__API_KEY.",
        rich_help_panel=_WHERE,
    ),
]
PurposeOption = Annotated[
    str | None,
    typer.Option("--purpose", help="Why memory is wanted.", rich_help_panel=_WHERE),
]
RoleOption = Annotated[
    str | None,
    typer.Option("--as-role", help="The one role to use.", rich_help_panel=_WHERE),
]
ApplicationOption = Annotated[
    str | None,
    typer.Option("--application", help="The calling application.", rich_help_panel=_WHERE),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="One JSON document on standard output, and nothing else.")
]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the service is, and who calls it."""

    data: Path | None = None
    url: str | None = None
    address: str | None = None
    api_key: str | None = None
    purpose: str | None = None
    as_role: str | None = None
    application: str | None = None


class Call:
    """What a command works with; connects when it is first asked for the service."""

    def __init__(self, place: Place, out: Output) -> None:
        self.place = place
        self.out = out
        self._opened: MemOS | None = None

    @cached_property
    def settings(self) -> Settings:
        """The settings of the environment, with the data folder that the command names."""
        from memos_ray.client.opening import settings_for

        return settings_for(self.place.data, None)

    @property
    def memos(self) -> MemOS:
        """The service."""
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def health(self) -> Health:
        """How the service is; anybody may ask, so that no credential is needed or sent."""
        self.place = replace(self.place, api_key=_NOBODY)
        return self.memos.health()

    def close(self) -> None:
        """Disconnects."""
        if self._opened is not None:
            self._opened.close()

    def _open(self) -> MemOS:
        from memos_ray.client.sync.memos import MemOS

        place, settings = self.place, self.settings
        if place.url is not None and (place.data is not None or place.address is not None):
            raise InvalidInputError("give --url, or --address, or --data")
        if place.address is not None:
            from memos_ray.cluster.folder import DataFolder
            from memos_ray.cluster.ray_token import use_ray_token

            folder = DataFolder(settings.data)
            if folder.ray_token.exists():
                use_ray_token(folder)
        elif place.data is not None:
            # A folder that is named goes before a URL that is merely configured.
            client = settings.client.model_copy(update={"url": None})
            settings = settings.model_copy(update={"client": client})
        return MemOS(
            url=place.url,
            address=place.address,
            api_key=place.api_key,
            settings=settings,
            purpose=place.purpose,
            role=place.as_role or settings.client.role,
            application=place.application,
        )


def _service(
    data: DataOption = None,
    url: UrlOption = None,
    address: AddressOption = None,
    api_key: KeyOption = None,
    purpose: PurposeOption = None,
    as_role: RoleOption = None,
    application: ApplicationOption = None,
) -> Place:
    return Place(data, url, address, api_key, purpose, as_role, application)


def _folder(data: DataOption = None) -> Place:
    return Place(data)


def with_service(function: Callable[Concatenate[Call, P], None]) -> Callable[..., None]:
    """Makes a command that may call the service wherever it is."""
    return _command(function, _service)


def with_folder(function: Callable[Concatenate[Call, P], None]) -> Callable[..., None]:
    """Makes a command that is about the data folder of this machine."""
    return _command(function, _folder)


def _command(
    function: Callable[Concatenate[Call, P], None], place_of: Callable[..., Place]
) -> Callable[..., None]:
    """Adds the options that commands share, and turns errors into problems and exit codes."""
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    shared = list(inspect.signature(place_of, eval_str=True).parameters.values())
    as_json = inspect.Parameter(
        "as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=JsonOption
    )

    def run(**values: Any) -> None:
        out = Output(values.pop("as_json"))
        place = place_of(**{one.name: values.pop(one.name) for one in shared})
        call = Call(place, out)
        try:
            try:
                function(call, **values)  # type: ignore[call-arg]
            finally:
                call.close()
        except MemosError as error:
            out.fail(error)
            raise typer.Exit(exit_code_of(error)) from None

    options = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*own, *shared)]
    run.__signature__ = inspect.Signature([*options, as_json])  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in (*options, as_json)}
    run.__name__, run.__doc__ = function.__name__, function.__doc__
    return run
