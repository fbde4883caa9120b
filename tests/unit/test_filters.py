"""The filter language: what each spelling means, and what is said about one that means nothing."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest

from memos_ray.core.cube.facets import FIELDS, facets_of, to_micros
from memos_ray.core.cube.filters import describe, parse
from memos_ray.core.cube.filters.syntax import (
    DEPTH_MAX,
    EXPRESSION_BYTES_MAX,
    NODES_MAX,
    TEXT_CHARS_MAX,
    VALUES_MAX,
)
from memos_ray.core.cube.metadata import Setting, Visibility
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
    evaluate,
)
from memos_ray.errors import InvalidFilterError
from memos_ray.testing.cubes import make_cube

NOW = datetime(2024, 2, 29, 12, 30, tzinfo=UTC)
DAY = 86_400_000_000


def micros(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> int:
    return to_micros(datetime(year, month, day, hour, minute, tzinfo=UTC))


MAY = micros(2023, 5, 1)
TAG_A, TAG_B, TAG_C = (HasAny("tags", (name,)) for name in "abc")

EXPRESSIONS: list[tuple[str, Predicate]] = [
    # Comparisons with texts and sets.
    ("tags:work", HasAny("tags", ("work",))),
    ("tags = work", HasAny("tags", ("work",))),
    ("tags != work", Not(HasAny("tags", ("work",)))),
    ('speaker:"Bob Smith"', OneOf("speaker", ("Bob Smith",))),
    ("speaker:'Bob \"B\" Smith'", OneOf("speaker", ('Bob "B" Smith',))),
    (r'speaker:"a\"b\\c\n\u00e9\t\/"', OneOf("speaker", ('a"b\\c\né\t/',))),
    ("speaker:小明", OneOf("speaker", ("小明",))),
    ("owner:user:ann@example.org", OneOf("owner", ("user:ann@example.org",))),
    ("readers:role:nurse", HasAny("readers", ("role:nurse",))),
    ("session:12", OneOf("session", ("12",))),
    ("session:true", OneOf("session", ("true",))),
    ("tags:2023-05-01", HasAny("tags", ("2023-05-01",))),
    ("tags:and", HasAny("tags", ("and",))),
    ("speaker:now", OneOf("speaker", ("now",))),
    ("visibility:private", OneOf("visibility", ("private",))),
    ("semantic_type != preference", Not(OneOf("semantic_type", ("preference",)))),
    ("state in (archived, expired)", OneOf("state", ("archived", "expired"))),
    ("tags in (a, 'b c', a)", HasAny("tags", ("a", "b c"))),
    ("tags not in (a, b)", Not(HasAny("tags", ("a", "b")))),
    ("tags in ()", Nothing()),
    ("tags not in ()", Not(Nothing())),
    ("has(session)", Present("session")),
    ("not has ( event_time )", Not(Present("event_time"))),
    # Numbers and flags.
    ("priority = 3", OneOf("priority", (3,))),
    ("priority:-3", OneOf("priority", (-3,))),
    ("priority = 3.0", OneOf("priority", (3,))),
    ("priority in (1, 2)", OneOf("priority", (1, 2))),
    ("priority > 3", Between("priority", 4, None)),
    ("priority >= 3", Between("priority", 3, None)),
    ("priority < 3", Between("priority", None, 3)),
    ("priority <= 3", Between("priority", None, 4)),
    ("priority > 2.5", Between("priority", 3, None)),
    ("priority <= -2.5", Between("priority", None, -2)),
    ("frozen:true", OneOf("frozen", (True,))),
    ("frozen != FALSE", Not(OneOf("frozen", (False,)))),
    # Attributes: a quoted value is a text, a bare one is what it looks like.
    ("attributes.city:Rome", OneOf("attributes.city", ("Rome",))),
    ('attributes.city in ("Rome", "巴黎")', OneOf("attributes.city", ("Rome", "巴黎"))),
    ("attributes.zip:12345", OneOf("attributes.zip", (12345,))),
    ('attributes.zip:"12345"', OneOf("attributes.zip", ("12345",))),
    ("attributes.ok:true", OneOf("attributes.ok", (True,))),
    ("attributes.ok:'true'", OneOf("attributes.ok", ("true",))),
    ("attributes.x = 1.5e3", OneOf("attributes.x", (1500.0,))),
    ("attributes.x = .5", OneOf("attributes.x", (0.5,))),
    ("attributes.x:nan", OneOf("attributes.x", ("nan",))),
    ("attributes.due:2023-05-01", OneOf("attributes.due", ("2023-05-01",))),
    ("attributes.x >= 3", Between("attributes.x", 3, None)),
    ("attributes.x < 2.5", Between("attributes.x", None, 2.5)),
    (
        "attributes.x > 3",
        AllOf((Between("attributes.x", 3, None), Not(OneOf("attributes.x", (3,))))),
    ),
    ("attributes.x <= 3", AnyOf((Between("attributes.x", None, 3), OneOf("attributes.x", (3,))))),
    ('attributes."my city":Rome', OneOf("attributes.my city", ("Rome",))),
    ("attributes.'a\\'b' = 1", OneOf("attributes.a'b", (1,))),
    ("attributes.a.b-c:1", OneOf("attributes.a.b-c", (1,))),
    ("attributes.not:1", OneOf("attributes.not", (1,))),
    # Times.
    ("event_time = 2023-05-01", Between("event_time", MAY, MAY + DAY)),
    ("event_time:2023-05-01", Between("event_time", MAY, MAY + DAY)),
    ("event_time != 2023-05-01", Not(Between("event_time", MAY, MAY + DAY))),
    ("event_time > 2023-05-01", Between("event_time", MAY + DAY, None)),
    ("event_time >= 2023-05-01", Between("event_time", MAY, None)),
    ("event_time < 2023-05-01", Between("event_time", None, MAY)),
    ("event_time <= 2023-05-01", Between("event_time", None, MAY + DAY)),
    ("event_time >= 2023-05-01T10:30", Between("event_time", micros(2023, 5, 1, 10, 30), None)),
    ("event_time > 2023-05-01T00:00Z", Between("event_time", MAY + 1, None)),
    ("event_time < 2023-05-01T02:00+02:00", Between("event_time", None, MAY)),
    ('event_time < "2023-05-01 00:00:00.25"', Between("event_time", None, MAY + 250_000)),
    ("event_time = 2023-05-01T00:00:00Z", Between("event_time", MAY, MAY + 1)),
    (
        "event_time in (2023-05-01, 2023-05-03)",
        AnyOf(
            (
                Between("event_time", MAY, MAY + DAY),
                Between("event_time", MAY + 2 * DAY, MAY + 3 * DAY),
            )
        ),
    ),
    ("created_at > now-7d", Between("created_at", to_micros(NOW) - 7 * DAY + 1, None)),
    ("created_at >= now - 1w", Between("created_at", to_micros(NOW) - 7 * DAY, None)),
    ("expires_at < now+1h30m", Between("expires_at", None, to_micros(NOW) + 5_400_000_000)),
    ("expires_at <= now", Between("expires_at", None, to_micros(NOW) + 1)),
    # Connectives.
    ("true", Everything()),
    ("FALSE", Nothing()),
    ("tags:a and tags:b or tags:c", AnyOf((AllOf((TAG_A, TAG_B)), TAG_C))),
    ("tags:a and (tags:b or tags:c)", AllOf((TAG_A, AnyOf((TAG_B, TAG_C))))),
    ("tags:a or tags:b or tags:c", AnyOf((TAG_A, TAG_B, TAG_C))),
    ("not tags:a and tags:b", AllOf((Not(TAG_A), TAG_B))),
    ("not (tags:a and tags:b)", Not(AllOf((TAG_A, TAG_B)))),
    ("not not tags:a", Not(Not(TAG_A))),
    ("NOT tags:a AND tags:b Or tags:c", AnyOf((AllOf((Not(TAG_A), TAG_B)), TAG_C))),
    ("(tags:a)or(not(tags:b))", AnyOf((TAG_A, Not(TAG_B)))),
    ("\n tags:a\t and\n tags:b ", AllOf((TAG_A, TAG_B))),
    ("tags:a and true", TAG_A),
    ("tags:a and false", Nothing()),
]


@pytest.mark.parametrize(("text", "predicate"), EXPRESSIONS, ids=[row[0] for row in EXPRESSIONS])
def test_an_expression_means(text: str, predicate: Predicate) -> None:
    assert parse(text, NOW) == predicate


WRONG_EXPRESSIONS: list[tuple[str, int | None, str]] = [
    ("", 0, "empty"),
    (" \n", 0, "empty"),
    ("tags", 4, "an operator"),
    ("tags work", 5, "an operator"),
    ("tags:", 5, "the filter ends where a value is expected"),
    ("tags:a or", 9, "a comparison"),
    ("tags:a tags:b", 7, "`tags:b` stands where `and` or `or` is expected"),
    ("and tags:a", 4, "an operator"),
    ("speaker:Bob Smith", 12, "quotation marks"),
    ("priority == 3", 10, "a value"),
    ("(tags:a", 7, "a closing parenthesis"),
    ("tags:a)", 6, "the end"),
    ("()", 1, "a comparison"),
    ("tags in a", 8, "an opening parenthesis"),
    ("tags in (a b)", 11, "a comma or a closing parenthesis"),
    ("tags in (a,)", 11, "a value"),
    ("tags not (a)", 9, "`in`"),
    ("has()", 4, "the name of a field"),
    ('speaker:"Bob', 8, "never closed"),
    ("speaker:O'Neil", 9, "never closed"),
    ('attributes."x', 11, "never closed"),
    (r'speaker:"\q"', 8, "`\\q` is no escape"),
    (r'speaker:"\u12"', 8, "is no escape"),
    (r'speaker:"a\u0000"', 0, "cannot hold"),
    (r'speaker:"\ud800"', 0, "cannot hold"),
    ("speaker:\udc80", 0, "cannot hold"),
    ("tag:x", 0, "did you mean tags?"),
    ("tags:a and sesion:1", 11, "did you mean session?"),
    ("city:Rome", 0, "`attributes.city`"),
    ("tenant:acme", 0, "there is no field 'tenant'"),
    ("text:hello", 0, "there is no field"),
    ("Tags:work", 0, "did you mean tags?"),
    ("has(nothing)", 4, "there is no field"),
    ('attributes."":1', 0, "there is no field"),
    (f'attributes."{"x" * 257}":1', 0, "there is no field"),
    ("semantic_type:preferance", 0, "did you mean preference?"),
    ("state:gone", 0, "is one of generated, activated"),
    ("visibility:'read only'", 0, "did you mean read_only?"),
    ("priority:high", 0, "`priority` takes a number, not 'high'"),
    ('priority:"3"', 0, "takes a number"),
    ("priority:1.5", 0, "takes a whole number"),
    ("priority:9223372036854775808", 0, "64 bits"),
    ("priority > 99999999999999999999999", 0, "64 bits"),
    ("attributes.x = 1e999", 0, "64 bits"),
    ("priority:true", 0, "takes a number"),
    ("frozen:yes", 0, "true or false"),
    ("frozen:1", 0, "true or false"),
    ('frozen:"true"', 0, "true or false"),
    ("frozen > true", 0, "has no order"),
    ("tags < 3", 0, "has no order"),
    ("owner >= user:ann", 0, "has no order"),
    ("attributes.x > Rome", 0, "takes a number with `>`"),
    ('attributes.x <= "3"', 0, "takes a number with `<=`"),
    ("attributes.x < true", 0, "takes a number"),
    ("event_time:yesterday", 0, "takes a date"),
    ("event_time > 5", 0, "takes a date"),
    ("event_time = 2023-02-30", 0, "takes a date"),
    ("event_time = 2023-13-01", 0, "takes a date"),
    ("event_time = 2023-W01-1", 0, "takes a date"),
    ("event_time = 20230501", 0, "takes a date"),
    ("event_time = 0000-01-01", 0, "takes a date"),
    ("event_time = 2023-05-01T25:00", 0, "takes a date"),
    ("event_time = 0001-01-01T00:00+01:00", 0, "takes a date"),
    ("event_time > now-7x", 0, "takes a date"),
    ("event_time > now-999999999w", 0, "takes a date"),
    ("event_time > now-", 0, "takes a date"),
    ("城市:罗马", 0, "a comparison"),
    ("(" * (DEPTH_MAX + 1) + "tags:a" + ")" * (DEPTH_MAX + 1), DEPTH_MAX + 1, "deeper"),
    ("not " * (DEPTH_MAX + 1) + "tags:a", 4 * (DEPTH_MAX + 1), "deeper"),
    (" or ".join(["tags:a"] * NODES_MAX), None, f"more than {NODES_MAX} comparisons"),
    (f"tags in ({','.join('a' * (VALUES_MAX + 1))})", 0, f"more than {VALUES_MAX} values"),
    ("tags:" + "x" * EXPRESSION_BYTES_MAX, None, "longer than"),
    ("tags:" + "é" * (EXPRESSION_BYTES_MAX // 2), None, "longer than"),
]


@pytest.mark.parametrize(
    ("text", "position", "words"), WRONG_EXPRESSIONS, ids=[row[0][:40] for row in WRONG_EXPRESSIONS]
)
def test_a_wrong_expression_is_explained(text: str, position: int | None, words: str) -> None:
    with pytest.raises(InvalidFilterError) as caught:
        parse(text, NOW)
    assert words in caught.value.message
    if position is not None:
        assert caught.value.details["position"] == position


def test_the_limits_are_inclusive() -> None:
    assert parse("(" * DEPTH_MAX + "tags:a" + ")" * DEPTH_MAX, NOW) == TAG_A
    assert parse(" or ".join(["tags:a"] * (NODES_MAX - 1)), NOW) == AnyOf((TAG_A,) * 255)
    assert parse(f"tags in ({','.join('a' * VALUES_MAX)})", NOW) == TAG_A
    longest = "x" * (EXPRESSION_BYTES_MAX - len("tags:"))
    assert parse(f"tags:{longest}", NOW) == HasAny("tags", (longest,))


def test_hostile_input_costs_little() -> None:
    """Every one of these is as long as a filter may be; each is refused, or read, at once."""
    size = EXPRESSION_BYTES_MAX - 64
    started = time.process_time()
    for text in (
        "(" * size,
        "not " * (size // 4),
        '"' * size,
        'tags:"' + "\\" * size,
        "tags:" + "now-" * (size // 4),
        "tags in (now" + " " * size,
        "priority:" + "9" * size,
        "a." * (size // 2),
    ):
        try:
            parse(text, NOW)
        except InvalidFilterError as error:
            assert len(error.message) < 400
    assert time.process_time() - started < 2


def leaf(field: str, op: str, value: object) -> dict[str, object]:
    return {"field": field, "op": op, "value": value}


DOCUMENTS: list[tuple[dict[str, object], str]] = [
    (leaf("tags", "eq", "work"), "tags:work"),
    (leaf("tags", "ne", "work"), "tags != work"),
    (leaf("tags", "any", ["a", "b"]), "tags in (a, b)"),
    (leaf("tags", "all", ["a", "b"]), "tags:a and tags:b"),
    (leaf("tags", "all", []), "true"),
    (leaf("tags", "any", []), "false"),
    (leaf("session", "in", ["12", "x y"]), "session in (12, 'x y')"),
    (leaf("priority", "eq", 3), "priority = 3"),
    (leaf("priority", "eq", 3.0), "priority = 3"),
    (leaf("priority", "lt", 3), "priority < 3"),
    (leaf("priority", "lte", 3), "priority <= 3"),
    (leaf("priority", "gt", 3), "priority > 3"),
    (leaf("priority", "gte", 3), "priority >= 3"),
    (leaf("priority", "between", [1, 5]), "priority >= 1 and priority < 5"),
    (leaf("priority", "between", [1, None]), "priority >= 1"),
    (leaf("priority", "between", [None, 5]), "priority < 5"),
    (leaf("frozen", "eq", False), "frozen = false"),
    (leaf("session", "exists", True), "has(session)"),
    (leaf("session", "exists", False), "not has(session)"),
    (leaf("event_time", "gt", "2023-05-01"), "event_time > 2023-05-01"),
    (leaf("event_time", "eq", "2023-05-01T10:00:00Z"), "event_time = 2023-05-01T10:00:00Z"),
    (leaf("created_at", "gte", "now-7d"), "created_at >= now-7d"),
    (
        leaf("event_time", "between", ["2023-05-01", "2023-06-01"]),
        "event_time >= 2023-05-01 and event_time < 2023-06-01",
    ),
    (leaf("attributes.city", "eq", "Rome"), "attributes.city:Rome"),
    (leaf("attributes.zip", "eq", "12345"), "attributes.zip:'12345'"),
    (
        leaf("attributes.zip", "in", [12345, "12345", True]),
        "attributes.zip in (12345,'12345',true)",
    ),
    (leaf("attributes.my city", "exists", True), 'has(attributes."my city")'),
    (leaf("attributes.x", "between", [0.5, 2]), "attributes.x >= 0.5 and attributes.x < 2"),
    ({"not": leaf("tags", "eq", "a")}, "not tags:a"),
    ({"and": []}, "true"),
    ({"or": []}, "false"),
    ({"and": [leaf("tags", "eq", "a"), leaf("tags", "eq", "b")]}, "tags:a and tags:b"),
    (
        {"or": [leaf("tags", "eq", "a"), {"and": [leaf("tags", "eq", "b"), {"not": {"or": []}}]}]},
        "tags:a or tags:b and not false",
    ),
]


@pytest.mark.parametrize(("document", "text"), DOCUMENTS, ids=[row[1] for row in DOCUMENTS])
def test_both_spellings_mean_the_same(document: dict[str, object], text: str) -> None:
    assert parse(document, NOW) == parse(text, NOW)


def nested(depth: int) -> dict[str, object]:
    document = leaf("tags", "eq", "a")
    for _ in range(depth):
        document = {"not": document}
    return document


WRONG_DOCUMENTS: list[tuple[dict[str, object], str, str]] = [
    ({}, "", "one key"),
    ({"and": [], "or": []}, "", "one key"),
    ({"xor": []}, "", "one key"),
    ({"field": "tags", "op": "eq"}, "", "one key"),
    ({**leaf("tags", "eq", "a"), "boost": 2}, "", "one key"),
    ({"and": {}}, "/and", "a list is expected here, not an object"),
    ({"and": None}, "/and", "a list is expected here, not null"),
    ({"and": "tags:a"}, "/and", "a list is expected here, not a text"),
    ({"not": []}, "/not", "an object is expected here, not a list"),
    ({"or": [leaf("tags", "eq", "a"), 3]}, "/or/1", "an object is expected here, not a number"),
    (leaf(3, "eq", "a"), "/field", "a text is expected"),  # type: ignore[arg-type]
    (leaf("tags", "=", "a"), "/op", "`op` is one of eq, ne, in"),
    (leaf("tags", "not_in", ["a"]), "/op", "`op` is one of"),
    ({"field": "tags", "op": ["eq"], "value": "a"}, "/op", "`op` is one of"),
    (leaf("tags", "in", "a"), "/value", "a list is expected"),
    (leaf("tags", "eq", ["a"]), "/value", "a text, a number, true or false is expected"),
    (leaf("tags", "eq", None), "/value", "not null"),
    (leaf("tags", "any", [None]), "/value/0", "not null"),
    (leaf("tags", "any", [["a"]]), "/value/0", "not a list"),
    (leaf("tags", "any", ["a", 3]), "", "`tags` takes a text, not '3'"),
    (leaf("session", "eq", 12), "", "takes a text"),
    (leaf("session", "all", ["a"]), "", "needs a set field"),
    (leaf("priority", "eq", "3"), "", "takes a number"),
    (leaf("priority", "eq", True), "", "takes a number"),
    (leaf("priority", "eq", 1.5), "", "takes a whole number"),
    (leaf("priority", "gt", 2**63), "", "64 bits"),
    (leaf("attributes.x", "gt", float("inf")), "", "64 bits"),
    (leaf("attributes.x", "eq", float("nan")), "", "64 bits"),
    (leaf("frozen", "eq", 1), "", "true or false"),
    (leaf("event_time", "gt", 1_683_000_000), "", "takes a date"),
    (leaf("priority", "between", [1]), "/value", "a list of two"),
    (leaf("priority", "between", [1, 2, 3]), "/value", "a list of two"),
    (leaf("priority", "between", [None, None]), "", "at least one end"),
    (leaf("tags", "between", ["a", "b"]), "", "has no order"),
    (leaf("session", "exists", "yes"), "", "true or false"),
    (leaf("tenant", "eq", "acme"), "", "there is no field"),
    ({"and": [leaf("tags", "eq", "a"), leaf("tag", "eq", "a")]}, "/and/1", "did you mean tags?"),
    (leaf("speaker", "eq", "x" * (TEXT_CHARS_MAX + 1)), "/value", "characters"),
    (leaf("tags", "any", ["a"] * (VALUES_MAX + 1)), "/value", "more than 1024 items"),
    (nested(DEPTH_MAX + 1), "/not" * (DEPTH_MAX + 1), "deeper"),
]


@pytest.mark.parametrize(
    ("document", "path", "words"),
    WRONG_DOCUMENTS,
    ids=[str(row[0])[:50] for row in WRONG_DOCUMENTS],
)
def test_a_wrong_document_is_explained(document: dict[str, object], path: str, words: str) -> None:
    with pytest.raises(InvalidFilterError) as caught:
        parse(document, NOW)
    assert words in caught.value.message
    assert caught.value.details["path"] == path


def test_limits_of_a_document() -> None:
    assert parse(nested(DEPTH_MAX), NOW) == parse(nested(DEPTH_MAX), NOW)
    several = {"or": [leaf("tags", "any", ["a"] * 700), leaf("tags", "any", ["b"] * 700)]}
    with pytest.raises(InvalidFilterError, match="values"):
        parse(several, NOW)
    with pytest.raises(InvalidFilterError, match="comparisons"):
        parse({"or": [leaf("tags", "eq", "a")] * NODES_MAX}, NOW)


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_every_field_may_be_filtered_on(name: str) -> None:
    assert parse(f"has({name})", NOW) == Present(name)
    assert parse(leaf(name, "exists", True), NOW) == Present(name)


def test_a_relative_time_does_not_depend_on_the_zone_of_now() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=9)))
    assert parse("created_at > now-1d", elsewhere) == parse("created_at > now-1d", NOW)


@pytest.mark.parametrize(
    ("moment", "matching"),
    [
        (datetime(2023, 4, 30, 23, 59, 59, 999_999, tzinfo=UTC), {"<", "<=", "!="}),
        (datetime(2023, 5, 1, tzinfo=UTC), {"=", ":", "<=", ">="}),
        (datetime(2023, 5, 1, 23, 59, 59, 999_999, tzinfo=UTC), {"=", ":", "<=", ">="}),
        (datetime(2023, 5, 2, tzinfo=UTC), {">", ">=", "!="}),
        (None, {"!="}),
    ],
)
def test_a_date_is_the_whole_day(moment: datetime | None, matching: set[str]) -> None:
    facets = facets_of(make_cube(event_time=moment))
    found = {
        operator
        for operator in (":", "=", "!=", "<", "<=", ">", ">=")
        if evaluate(parse(f"event_time {operator} 2023-05-01", NOW), facets)
    }
    assert found == matching


def test_a_filter_picks_memories() -> None:
    about = 'tags:work and not speaker:"Bob Smith" and (event_time >= 2023-05-01 or priority > 3)'
    wanted = parse(about, NOW)
    meeting = datetime(2023, 6, 1, tzinfo=UTC)
    bob = Setting(speaker="Bob Smith")
    assert evaluate(wanted, facets_of(make_cube(tags=("work",), event_time=meeting)))
    assert evaluate(wanted, facets_of(make_cube(tags=("work", "x"), priority=4)))
    assert not evaluate(wanted, facets_of(make_cube(tags=("work",), priority=3)))
    assert not evaluate(wanted, facets_of(make_cube(tags=("home",), priority=4)))
    assert not evaluate(wanted, facets_of(make_cube(tags=("work",), priority=4, setting=bob)))
    shared = parse("visibility != private", NOW)
    assert evaluate(shared, facets_of(make_cube(visibility=Visibility.SHARED)))
    assert not evaluate(shared, facets_of(make_cube()))


DESCRIPTIONS: list[tuple[Predicate, str]] = [
    (Everything(), "true"),
    (Nothing(), "false"),
    (OneOf("speaker", ("Bob Smith",)), 'speaker:"Bob Smith"'),
    (OneOf("attributes.zip", ("12345", 12345)), 'attributes.zip in ("12345", 12345)'),
    (Not(HasAny("tags", ("a",))), "tags != a"),
    (Not(HasAny("tags", ("a", "b c"))), 'tags not in (a, "b c")'),
    (OneOf("tags", ()), "false"),
    (Not(OneOf("owner", ())), "not false"),
    (Between("event_time", MAY, MAY + DAY), "event_time = 2023-05-01"),
    (Between("event_time", MAY, MAY + 1), "event_time = 2023-05-01T00:00:00Z"),
    (Between("expires_at", None, MAY + 1), "expires_at < 2023-05-01T00:00:00.000001Z"),
    (Between("event_time", MAY, None), "event_time >= 2023-05-01"),
    (Between("priority", 1, 3), "priority >= 1 and priority < 3"),
    (Not(Between("priority", 1, 3)), "not (priority >= 1 and priority < 3)"),
    (Between("priority", None, None), "has(priority)"),
    (
        Between("attributes.x", float("-inf"), float("inf")),
        "(attributes.x < 0 or attributes.x >= 0)",
    ),
    (Between("attributes.x", float("nan"), None), "false"),
    (Present("attributes.a b"), 'has(attributes."a b")'),
    (Not(AllOf((TAG_A, TAG_B))), "not (tags:a and tags:b)"),
    (AllOf((AnyOf((TAG_A, TAG_B)), TAG_C)), "(tags:a or tags:b) and tags:c"),
    (AllOf(()), "true"),
    (AnyOf(()), "false"),
]


@pytest.mark.parametrize(("predicate", "text"), DESCRIPTIONS, ids=[row[1] for row in DESCRIPTIONS])
def test_a_predicate_reads_as(predicate: Predicate, text: str) -> None:
    assert describe(predicate) == text
    parse(text, NOW)


def test_a_predicate_of_another_making_is_described_all_the_same() -> None:
    odd = AllOf((Between("created_at", 10**19, None), OneOf("nowhere", ("\ud800",))))
    assert describe(odd) == "created_at >= 10000000000000000000 and nowhere = '\\ud800'"
