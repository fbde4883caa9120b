"""From what was found in turns to the writes that store it: never wider open than its sources."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import blake2b

import orjson

from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.facets import to_micros
from memos_ray.core.cube.identity import digest, new_id
from memos_ray.core.cube.metadata import (
    Arrangement,
    Attribute,
    Decay,
    ExpiresAt,
    Forever,
    Lifespan,
    Origin,
    SemanticType,
    Setting,
    SourceRef,
    TimeSpan,
    Visibility,
)
from memos_ray.core.cube.payload import Plaintext
from memos_ray.core.extraction.answers import Item, Kind
from memos_ray.core.extraction.checking import Taken
from memos_ray.core.extraction.prompts import EXTRACTOR
from memos_ray.core.reader.language import detect_language
from memos_ray.core.vault.operations import Create, Write

TAG = "extracted"
_ENTROPY_BYTES = 8
_PARTITION_BYTES = 2
_TYPES = {
    Kind.PREFERENCE: SemanticType.PREFERENCE,
    Kind.EPISODE: SemanticType.EPISODE,
}


def write_of(taken: Taken, partition: int, namespace: str, model: str, key: str) -> Write:
    """Returns the write that stores an item.

    Its id follows from the versions of its sources, the item and `EXTRACTOR`, so that the same is
    made once; and names its partition, as minted ids do.

    Args:
        namespace: of the sources; no other can be meant.
        key: idempotency key.
    """
    cubes = [turn.cube for turn in taken.turns]
    newest = max(cubes, key=lambda cube: (cube.descriptive.created_at, cube.id))
    item = taken.item
    time = item.time
    episode = item.kind is Kind.EPISODE and time is not None
    operation = Create(
        payload=Plaintext(item.text, detect_language(item.text)),
        id=_id_of(taken, newest, partition),
        origin=Origin.INFERENCE,
        semantic_type=_TYPES.get(item.kind, SemanticType.FACT),
        arrangement=Arrangement.GRAPH_NODE if item.kind is Kind.ENTITY else Arrangement.ITEM,
        tags=(*_common([cube.descriptive.tags for cube in cubes]), TAG),
        setting=_setting_of(cubes, newest),
        event_time=time.start if episode and time else newest.descriptive.event_time,
        mentions=() if time is None else (TimeSpan(time.start, _after(time.start, time.until)),),
        sources=tuple(SourceRef(cube_id=cube.id, version=cube.version.number) for cube in cubes),
        attributes=_attributes(item, model),
        visibility=visibility_of(cubes),
        readers=readers_of(cubes),
        lifespan=_lifespan_of(cubes),
        priority=min(cube.governance.priority for cube in cubes),
        sensitivity=_united([cube.governance.sensitivity for cube in cubes]),
        compliance=_united([cube.governance.compliance for cube in cubes]),
        watermark=next((mark for cube in cubes if (mark := cube.governance.watermark)), None),
    )
    return Write(
        namespace,
        operation,
        key,
        reason=f"extracted by {model}",
        derived_from=tuple(turn.key for turn in taken.turns),
    )


def visibility_of(cubes: Sequence[MemCube]) -> Visibility:
    """Returns the narrowest visibility among sources."""
    found = {cube.governance.visibility for cube in cubes}
    order = (Visibility.PRIVATE, Visibility.READ_ONLY, Visibility.SHARED)
    return next(one for one in order if one in found)


def readers_of(cubes: Sequence[MemCube]) -> tuple[str, ...]:
    """Returns who is a named reader of each of the sources."""
    return _common([cube.governance.readers for cube in cubes])


def item_key(taken: Taken) -> str:
    """Names what is extracted: by the versions of its sources, the extractor, and itself."""
    item = taken.item
    said = [item.kind, item.text, item.subject, item.predicate, item.object]
    sources = sorted(turn.key for turn in taken.turns)
    return digest(
        b"memos-extracted-1", orjson.dumps(sources), EXTRACTOR.encode(), orjson.dumps(said)
    )


def _id_of(taken: Taken, newest: MemCube, partition: int) -> str:
    entropy = blake2b(item_key(taken).encode(), digest_size=_ENTROPY_BYTES).digest()
    at_ms = to_micros(newest.descriptive.created_at) // 1000
    return new_id(at_ms, entropy + partition.to_bytes(_PARTITION_BYTES, "big"))


def _setting_of(cubes: Sequence[MemCube], newest: MemCube) -> Setting:
    """Where it was said, without a position: it is no turn itself."""
    about = newest.descriptive.setting
    speakers = {cube.descriptive.setting.speaker for cube in cubes}
    speaker = about.speaker if len(speakers) == 1 else None
    return Setting(about.conversation, about.session, speaker=speaker)


def _attributes(item: Item, model: str) -> dict[str, Attribute]:
    found: dict[str, Attribute | None] = {
        "extractor": EXTRACTOR,
        "model": model,
        "kind": item.kind.value,
        "confidence": item.confidence,
        "subject": item.subject,
        "predicate": item.predicate,
        "object": item.object,
    }
    return {name: value for name, value in found.items() if value is not None}


def _lifespan_of(cubes: Sequence[MemCube]) -> Lifespan:
    """The shortest life among sources."""
    spans = [cube.governance.lifespan for cube in cubes]
    ends = [one.at for one in spans if isinstance(one, ExpiresAt)]
    if ends:
        return ExpiresAt(min(ends))
    halves = [one.half_life_s for one in spans if isinstance(one, Decay)]
    return Decay(min(halves)) if halves else Forever()


def _common(names: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    rest = [set(one) for one in names[1:]]
    return tuple(name for name in names[0] if name != TAG and all(name in one for one in rest))


def _united(names: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted({name for one in names for name in one}))


def _after(start: datetime, end: datetime) -> datetime:
    return end if end > start else start + timedelta(microseconds=1)
