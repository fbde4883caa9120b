"""Writes what follows from the code: `python -m scripts.write_docs`.

That is the synchronous SDK (see `scripts.write_sync`) and the tables in `docs/`.

A table stands between `<!-- NAME -->` and `<!-- /NAME -->`; everything else is written by hand.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from memos_ray.client.asynchronous import AsyncMemOS
from memos_ray.client.verbs.admin import AsyncAdmin
from memos_ray.config import ModelSettings, Settings, env_name
from memos_ray.core.counts import ACTIONS, PIPELINE_COUNTS, SHARD_COUNTS
from memos_ray.core.cube.facets import FIELDS
from memos_ray.core.pipeline.definition import PipelineSpec
from memos_ray.errors import all_errors
from memos_ray.gateway.app import create_app
from memos_ray.gateway.chat.service import ChatService
from memos_ray.gateway.doorway import Doorway
from memos_ray.gateway.memories.service import MemoryService
from memos_ray.gateway.metrics import HttpMetrics
from scripts import write_sync

DOCS = Path(__file__).parents[1] / "docs"
_TABLE = re.compile(r"<!-- ([a-z-]+) -->\n.*?<!-- /\1 -->\n", re.DOTALL)


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _table(heading: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    rule = "|" + "---|" * len(heading) + "\n"
    return _row(*heading) + rule + "".join(_row(*row) for row in rows)


def errors() -> str:
    """Every error with its code, status and whether a retry may help."""
    rows = (
        (
            f"[`{cls.code}`](#{cls.code})",
            f"`{cls.__name__}`",
            str(cls.http_status),
            "yes" if cls.retryable else "no",
        )
        for cls in all_errors()
    )
    return _table(("code", "class", "HTTP status", "retry"), rows)


def _default(field: FieldInfo) -> str:
    value = field.default
    if field.is_required():
        return "needed"
    if value is None:
        return "none"
    if isinstance(value, SecretStr):
        return "`…`"
    text = str(value.value if hasattr(value, "value") else value)
    return f"`{text.lower() if isinstance(value, bool) else text}`"


def _settings_of(model: type[BaseModel], path: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        if not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            place = (*path, name)
            yield (
                f"`{'.'.join(place)}`",
                f"`{env_name(*place)}`",
                _default(field),
                field.description or "",
            )


def settings() -> str:
    """Every setting, section by section."""
    heading = ("setting", "variable", "default", "meaning")
    parts = [_table(heading, _settings_of(Settings, ()))]
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            title = (section.__doc__ or "").strip()
            table = _table(heading, _settings_of(section, (name,)))
            parts.append(f"### {name}\n\n{title}\n\n{table}")
    title = (ModelSettings.__doc__ or "").strip()
    rows = [
        (f"`{name}`", _default(field), field.description or "")
        for name, field in ModelSettings.model_fields.items()
    ]
    table = _table(("field", "default", "meaning"), rows)
    parts.append(f"### models\n\n{title}\n\n{table}")
    return "\n".join(parts)


def _first_line(text: str | None) -> str:
    return inspect.cleandoc(text or "").split("\n\n")[0].replace("\n", " ")


def routes() -> str:
    """Every route of the REST door."""
    # Nothing is asked, so that nothing need stand behind the door.
    nothing: Any = None
    unused: Doorway = object.__new__(Doorway)
    unused.memories = MemoryService(
        router=nothing,
        authenticator=nothing,
        embedder=nothing,
        clock=nothing,
        limits=Settings().limits,
    )
    unused.chats = ChatService(nothing, nothing, nothing, {}, nothing)
    document = create_app(unused, Settings()).openapi()
    rows = (
        (
            f"`{method.upper()} {path}`",
            _first_line(operation["description"]),
            ", ".join(status for status in operation["responses"] if status.isdigit()),
        )
        for path, item in document["paths"].items()
        for method, operation in item.items()
    )
    return _table(("route", "what it does", "answers"), rows)


def _methods(kind: type) -> Iterable[tuple[str, ...]]:
    for name, member in inspect.getmembers(kind):
        if name.startswith("_") or name in write_sync.ASYNC_ONLY:
            continue
        is_property = isinstance(member, property)
        about = member.fget.__doc__ if isinstance(member, property) else member.__doc__
        taken = "" if is_property else f"({', '.join(_parameters(member))})"
        yield f"`{name}{taken}`", _first_line(about)


def _parameters(method: Callable[..., object]) -> Iterable[str]:
    for name, parameter in inspect.signature(method).parameters.items():
        if name == "self":
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            yield f"**{name}"
        else:
            yield name if parameter.default is parameter.empty else f"{name}=…"


def methods() -> str:
    """Every method that `AsyncMemOS` and `MemOS` have."""
    return _table(("method", "what it does"), _methods(AsyncMemOS))


def administration() -> str:
    """Every method of `MemOS.admin`."""
    return _table(("method", "what it does"), _methods(AsyncAdmin))


def filter_fields() -> str:
    """Every field that a filter may name."""
    return _table(("field", "kind"), ((f"`{name}`", kind.value) for name, kind in FIELDS.items()))


def metrics() -> str:
    """Every metric that `/metrics` shows."""
    shown = HttpMetrics().render({}).decode()
    found = re.findall(r"# HELP (\S+) (.*)\n# TYPE \S+ (\w+)", shown)
    rows = ((f"`{name}`", kind, text) for name, text, kind in found if "_created" not in name)
    return _table(("metric", "type", "meaning"), rows)


def counts() -> str:
    """What the actors count of themselves."""
    found = [(f"`{name}`", "shard", text) for name, text in SHARD_COUNTS.items()]
    found += [(f"`{name}`", "pipelines", text) for name, text in PIPELINE_COUNTS.items()]
    return _table(("count", "of", "meaning"), found)


def actions() -> str:
    """What happens unasked, and where it is counted, told and explained."""
    rows = (
        (one.name, ", ".join(f"`{count}`" for count in one.counts), one.told, one.why)
        for one in ACTIONS
    )
    return _table(("what happens unasked", "counts", "log", "why"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "errors": errors,
    "settings": settings,
    "routes": routes,
    "methods": methods,
    "administration": administration,
    "filter-fields": filter_fields,
    "metrics": metrics,
    "counts": counts,
    "actions": actions,
}


def renewed(text: str) -> str:
    """Returns a document with its tables as they should be."""
    return _TABLE.sub(
        lambda found: f"<!-- {found[1]} -->\n{TABLES[found[1]]()}<!-- /{found[1]} -->\n", text
    )


def pipeline_schema() -> str:
    """The JSON schema of pipelines."""
    return json.dumps(PipelineSpec.model_json_schema(), indent=2) + "\n"


def main() -> None:
    """Renews everything."""
    write_sync.main()
    (DOCS / "pipeline.schema.json").write_text(pipeline_schema())
    for path in sorted(DOCS.glob("*.md")):
        old = path.read_text()
        new = renewed(old)
        if new != old:
            path.write_text(new)
            print(f"renewed {path.relative_to(DOCS.parent)}")


if __name__ == "__main__":
    main()
