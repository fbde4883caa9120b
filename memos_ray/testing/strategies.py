"""Hypothesis strategies for cubes and predicates."""

from __future__ import annotations

from datetime import UTC, timedelta

from hypothesis import strategies as st

from memos_ray.core.cube import wire
from memos_ray.core.cube.cube import Change, MemCube, ParentRef, State, VersionInfo
from memos_ray.core.cube.facets import ATTRIBUTE_PREFIX, FIELDS, Kind, to_micros
from memos_ray.core.cube.fingerprint import Fingerprint, simhash
from memos_ray.core.cube.metadata import (
    Arrangement,
    Attribute,
    Decay,
    Descriptive,
    ExpiresAt,
    Forever,
    Governance,
    Lifespan,
    Origin,
    SemanticType,
    Setting,
    SourceRef,
    TimeSpan,
    Usage,
    Visibility,
)
from memos_ray.core.cube.payload import ActivationRef, Attachment, ParameterRef, Payload, Plaintext
from memos_ray.core.cube.predicate import (
    AllOf,
    AnyOf,
    Between,
    Everything,
    HasAny,
    Not,
    Nothing,
    OneOf,
    Predicate,
    Present,
    Scalar,
)
from memos_ray.testing.cubes import START, make_cube

texts = st.text(max_size=40)
"""Any text that UTF-8 can carry, NUL included."""

names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
"""Identifiers, tags and other names: no NUL, never empty."""

instants = st.datetimes(timezones=st.just(UTC))
"""Moments to the microsecond, year 1 to 9999."""

attribute_values: st.SearchStrategy[Attribute] = st.one_of(
    names,
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
)

_few_words = st.sampled_from(("red", "green", "blue", "Blue", "größe", "日本", "😀"))
_few_fields = st.sampled_from(("color", "size", "naïve key", "a.b", ""))
_few_numbers = st.one_of(
    st.integers(-3, 3),
    st.sampled_from((0.5, -0.0, 1.0, 2.0**53, 2**53 + 1, 2**63 - 1, -(2**63), 1e300)),
)
_few_instants = st.sampled_from(
    tuple(START + timedelta(days=d, microseconds=d % 2) for d in range(4))
)
_name_sets = st.lists(names, unique=True, max_size=3).map(tuple)
_digests = st.binary(min_size=32, max_size=32).map(bytes.hex)


@st.composite
def settings(draw: st.DrawFn, words: st.SearchStrategy[str] = names) -> Setting:
    """Draws a place in a conversation."""
    return Setting(
        conversation=draw(st.none() | words),
        session=draw(st.none() | words),
        position=draw(st.none() | st.integers(0, 2**40)),
        speaker=draw(st.none() | words),
        role=draw(st.none() | words),
    )


@st.composite
def payloads(draw: st.DrawFn) -> Payload:
    """Draws a payload of any form, mostly plaintext."""
    match draw(st.integers(0, 5)):
        case 0:
            return ActivationRef(
                draw(_digests),
                draw(names),
                draw(st.integers(0, 2**31)),
                draw(st.integers(0, 2**50)),
                draw(st.none() | _digests),
            )
        case 1:
            size = draw(st.integers(0, 2**50))
            return ParameterRef(draw(_digests), draw(names), draw(st.integers(1, 256)), size)
        case _:
            attachment = st.builds(
                Attachment, _digests, names, st.integers(0, 2**50), st.none() | names
            )
            attachments = draw(st.lists(attachment, max_size=2).map(tuple))
            return Plaintext(draw(texts), draw(st.none() | names), attachments)


lifespans: st.SearchStrategy[Lifespan] = st.one_of(
    st.just(Forever()),
    instants.map(ExpiresAt),
    st.floats(min_value=0.001, max_value=1e12).map(Decay),
)

usages = st.builds(
    Usage,
    access_count=st.integers(0, 2**40),
    last_access_at=st.none() | instants,
    frequency=st.floats(0, 1e9),
    cache_hits=st.integers(0, 2**40),
    usefulness=st.floats(-1e9, 1e9),
    tasks=_name_sets,
    agents=_name_sets,
)

_spans = st.tuples(instants, instants).map(lambda pair: TimeSpan(*sorted(pair)))
_sources = st.builds(
    SourceRef,
    uri=st.none() | names,
    item=st.none() | names,
    cube_id=st.none() | names,
    version=st.none() | st.integers(1, 1000),
)


@st.composite
def cubes(draw: st.DrawFn) -> MemCube:
    """Draws a cube of any form with any metadata; its digest is right."""
    payload = draw(payloads())
    about = Descriptive(
        created_at=draw(instants),
        updated_at=draw(instants),
        origin=draw(st.sampled_from(Origin)),
        semantic_type=draw(st.sampled_from(SemanticType)),
        arrangement=draw(st.sampled_from(Arrangement)),
        tags=draw(_name_sets),
        setting=draw(settings()),
        event_time=draw(st.none() | instants),
        valid_from=draw(st.none() | instants),
        valid_to=draw(st.none() | instants),
        mentions=tuple(draw(st.lists(_spans, max_size=2))),
        sources=tuple(draw(st.lists(_sources, max_size=2))),
        attributes=draw(st.dictionaries(names, attribute_values, max_size=3)),
    )
    rules = Governance(
        owner=draw(names),
        visibility=draw(st.sampled_from(Visibility)),
        readers=draw(_name_sets),
        writers=draw(_name_sets),
        sharers=draw(_name_sets),
        lifespan=draw(lifespans),
        priority=draw(st.integers(-(2**31), 2**31 - 1)),
        sensitivity=draw(_name_sets),
        compliance=draw(_name_sets),
        watermark=draw(st.none() | names),
        legal_hold=draw(st.booleans()),
    )
    version = VersionInfo(
        number=draw(st.integers(1, 1000)),
        digest=wire.content_digest(payload, about, rules),
        change=draw(st.sampled_from(Change)),
        author=draw(names),
        created_at=draw(instants),
        parents=tuple(
            draw(st.lists(st.builds(ParentRef, names, st.integers(1, 1000)), max_size=2))
        ),
        reason=draw(st.none() | names),
        lsn=draw(st.integers(0, 2**40)),
    )
    return MemCube(
        id=draw(names),
        provenance_id=draw(names),
        tenant=draw(names),
        namespace=draw(names),
        payload=payload,
        descriptive=about,
        governance=rules,
        version=version,
        fingerprint=Fingerprint(
            simhash(payload.text if isinstance(payload, Plaintext) else ""),
            draw(st.none() | st.binary(min_size=1, max_size=48).map(bytes.hex)),
        ),
        state=draw(st.sampled_from(State)),
        frozen=draw(st.booleans()),
        usage=draw(usages),
    )


@st.composite
def similar_cubes(draw: st.DrawFn) -> MemCube:
    """Draws first versions whose facets come from few values, so that predicates often match."""
    some_words = st.lists(_few_words, unique=True, max_size=2).map(tuple)
    moment = st.none() | _few_instants
    return make_cube(
        draw(_few_words),
        owner=draw(_few_words),
        at=draw(_few_instants),
        state=draw(st.sampled_from(State)),
        frozen=draw(st.booleans()),
        visibility=draw(st.sampled_from(Visibility)),
        readers=draw(some_words),
        writers=draw(some_words),
        sensitivity=draw(some_words),
        lifespan=draw(st.just(Forever()) | _few_instants.map(ExpiresAt)),
        priority=draw(st.integers(-3, 3)),
        tags=draw(some_words),
        attributes=draw(
            st.dictionaries(_few_fields, st.one_of(_few_words, _few_numbers, st.booleans()))
        ),
        setting=draw(settings(_few_words)),
        event_time=draw(moment),
        valid_from=draw(moment),
        valid_to=draw(moment),
    )


_fields = st.one_of(
    st.sampled_from(tuple(FIELDS)),
    _few_fields.map(lambda name: ATTRIBUTE_PREFIX + name),
    st.sampled_from(("unknown", "tenant", "text", "attributes", "attributes.none")),
)
_set_fields = st.sampled_from(tuple(name for name, kind in FIELDS.items() if kind is Kind.SET))
_enum_words = st.sampled_from(
    (*(state.value for state in State), *(v.value for v in Visibility), "plaintext", "fact")
)
_scalars: st.SearchStrategy[Scalar] = st.one_of(
    _few_words,
    _enum_words,
    _few_numbers,
    st.booleans(),
    _few_instants.map(to_micros),
    st.sampled_from((2**64, -(2**70), 2.0**70, "nul\0", "", float("inf"), float("nan"))),
)
_bounds = st.none() | st.one_of(
    _few_numbers,
    _few_instants.map(to_micros),
    st.sampled_from((2**64, -(2**70), float("inf"), float("-inf"), float("nan"))),
)
_leaves: st.SearchStrategy[Predicate] = st.one_of(
    st.just(Everything()),
    st.just(Nothing()),
    st.builds(OneOf, _fields, st.lists(_scalars, max_size=3).map(tuple)),
    st.builds(Between, _fields, _bounds, _bounds),
    st.builds(HasAny, _set_fields | _fields, st.lists(_few_words, max_size=3).map(tuple)),
    st.builds(Present, _fields),
)
predicates: st.SearchStrategy[Predicate] = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(AllOf, st.lists(inner, max_size=3).map(tuple)),
        st.builds(AnyOf, st.lists(inner, max_size=3).map(tuple)),
    ),
    max_leaves=8,
)
"""Predicates over the values that `similar_cubes` uses, with odd fields and bounds mixed in."""
