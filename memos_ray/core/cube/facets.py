"""The flat, filterable view of a MemCube: one definition for every place that filters.

SQL columns, Milvus fields, the resident index and the pure evaluator all take their fields from
here, so that a predicate means the same everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from memos_ray.core.cube.cube import MemCube, State
from memos_ray.core.cube.metadata import Descriptive, ExpiresAt, Governance
from memos_ray.core.cube.payload import Form

FacetValue = str | int | float | bool | tuple[str, ...]
Facets = Mapping[str, FacetValue]

ATTRIBUTE_PREFIX = "attributes."
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Kind(StrEnum):
    """Type of a facet."""

    TEXT = "text"
    INTEGER = "integer"
    TIME = "time"
    FLAG = "flag"
    SET = "set"


FIELDS: Mapping[str, Kind] = {
    "id": Kind.TEXT,
    "namespace": Kind.TEXT,
    "owner": Kind.TEXT,
    "visibility": Kind.TEXT,
    "state": Kind.TEXT,
    "form": Kind.TEXT,
    "origin": Kind.TEXT,
    "semantic_type": Kind.TEXT,
    "conversation": Kind.TEXT,
    "session": Kind.TEXT,
    "speaker": Kind.TEXT,
    "role": Kind.TEXT,
    "priority": Kind.INTEGER,
    "position": Kind.INTEGER,
    "created_at": Kind.TIME,
    "updated_at": Kind.TIME,
    "event_time": Kind.TIME,
    "valid_from": Kind.TIME,
    "valid_to": Kind.TIME,
    "expires_at": Kind.TIME,
    "frozen": Kind.FLAG,
    "tags": Kind.SET,
    "readers": Kind.SET,
    "writers": Kind.SET,
    "sharers": Kind.SET,
    "sensitivity": Kind.SET,
    "compliance": Kind.SET,
}
"""Every built-in field and its kind; a caller's own are `attributes.<name>`: text, number, flag."""


def to_micros(moment: datetime) -> int:
    """Converts an aware datetime to whole microseconds since 1970, UTC, without rounding."""
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """Converts microseconds since 1970 to an aware datetime, UTC."""
    return _EPOCH + micros * _MICROSECOND


def facets_of(cube: MemCube) -> dict[str, FacetValue]:
    """Flattens a cube; absent values are absent keys, times are microseconds since 1970."""
    return flattened(
        cube.id,
        cube.namespace,
        cube.state,
        cube.frozen,
        cube.payload.form,
        cube.descriptive,
        cube.governance,
    )


def flattened(
    cube_id: str,
    namespace: str,
    state: State,
    frozen: bool,
    form: Form,
    about: Descriptive,
    rules: Governance,
) -> dict[str, FacetValue]:
    """Flattens the parts of a cube; see `facets_of`."""
    setting = about.setting
    expires = rules.lifespan.at if isinstance(rules.lifespan, ExpiresAt) else None
    values: dict[str, FacetValue | None] = {
        "id": cube_id,
        "namespace": namespace,
        "owner": rules.owner,
        "visibility": rules.visibility.value,
        "state": state.value,
        "form": form.value,
        "origin": about.origin.value,
        "semantic_type": about.semantic_type.value,
        "conversation": setting.conversation,
        "session": setting.session,
        "speaker": setting.speaker,
        "role": setting.role,
        "priority": rules.priority,
        "position": setting.position,
        "created_at": to_micros(about.created_at),
        "updated_at": to_micros(about.updated_at),
        "event_time": to_micros(about.event_time) if about.event_time else None,
        "valid_from": to_micros(about.valid_from) if about.valid_from else None,
        "valid_to": to_micros(about.valid_to) if about.valid_to else None,
        "expires_at": to_micros(expires) if expires else None,
        "frozen": frozen,
        "tags": about.tags,
        "readers": rules.readers,
        "writers": rules.writers,
        "sharers": rules.sharers,
        "sensitivity": rules.sensitivity,
        "compliance": rules.compliance,
    }
    flat = {name: value for name, value in values.items() if value is not None and value != ()}
    for name, attribute in about.attributes.items():
        flat[ATTRIBUTE_PREFIX + name] = attribute
    return flat


def moved_facets(facets: Facets, cube: MemCube) -> Facets:
    """Returns `facets_of` a version of which only state and time are others than before.

    Args:
        facets: of the version before it.
    """
    at = to_micros(cube.descriptive.updated_at)
    return {**facets, "state": cube.state.value, "updated_at": at}
