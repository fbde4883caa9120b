"""What each operation makes of a memory in each state."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from memos_ray.core.cube import wire
from memos_ray.core.cube.cube import Change, MemCube, ParentRef, State
from memos_ray.core.cube.fingerprint import Fingerprint, simhash
from memos_ray.core.cube.metadata import (
    Decay,
    ExpiresAt,
    Origin,
    SemanticType,
    Setting,
    SourceRef,
    TimeSpan,
    Usage,
    Visibility,
)
from memos_ray.core.cube.payload import Attachment, ParameterRef, Plaintext
from memos_ray.core.vault.changes import Revision, create, revise
from memos_ray.core.vault.operations import (
    Archive,
    Create,
    Delete,
    Freeze,
    Hold,
    Restore,
    Rollback,
    Share,
    Update,
    UpdateMode,
)
from memos_ray.errors import (
    FrozenError,
    IllegalStateError,
    InvalidInputError,
    LegalHoldError,
    MemosError,
    VersionConflictError,
)
from memos_ray.testing.cubes import START, make_cube, next_version

LATER = START + timedelta(hours=1)
ADAPTER = ParameterRef("0" * 64, "tiny", 8, 1000)


def made(operation: Create, **given: object) -> MemCube:
    settings = {
        "tenant": "acme",
        "namespace": "notes",
        "author": "user:ann",
        "now": START,
        "default_visibility": Visibility.PRIVATE,
        "reason": None,
        **given,
    }
    return create(operation, **settings)[0]  # type: ignore[arg-type]


def revised(
    operation: Revision,
    head: MemCube,
    *,
    now: datetime = LATER,
    reason: str | None = None,
    target: MemCube | None = None,
) -> MemCube:
    cube = revise(operation, head, author="user:bob", now=now, reason=reason, target=target, lsn=7)
    assert cube is not None
    return cube


def update(mode: UpdateMode = UpdateMode.MERGE, **given: object) -> Update:
    return Update("c-1", mode, **given)  # type: ignore[arg-type]


# A head at version 2 in each state that matters, and what is done to it.
FIRST = make_cube("one", id="c-1", tags=("a",), attributes={"n": 1})
LIVE = next_version(FIRST, text="two", tags=("a", "b"))
STATES = {
    "live": LIVE,
    "generated": replace(LIVE, state=State.GENERATED),
    "merged": replace(LIVE, state=State.MERGED),
    "archived": replace(LIVE, state=State.ARCHIVED),
    "expired": replace(LIVE, state=State.EXPIRED),
    "frozen": replace(LIVE, frozen=True),
    "deleted": replace(LIVE, state=State.DELETED),
    "held": replace(LIVE, governance=replace(LIVE.governance, legal_hold=True)),
    "frozen+held": replace(LIVE, frozen=True, governance=replace(LIVE.governance, legal_hold=True)),
    "deleted+held": replace(
        LIVE, state=State.DELETED, governance=replace(LIVE.governance, legal_hold=True)
    ),
}
OPERATIONS: dict[str, Revision] = {
    "append": update(UpdateMode.APPEND, text="more"),
    "merge": update(tags=("c",)),
    "overwrite": update(UpdateMode.OVERWRITE, text="three"),
    "share": Share("c-1", readers=("user:eve",)),
    "delete": Delete("c-1"),
    "erase": Delete("c-1", hard=True),
    "restore": Restore("c-1"),
    "rollback": Rollback("c-1", to=1),
    "freeze": Freeze("c-1"),
    "unfreeze": Freeze("c-1", frozen=False),
    "hold": Hold("c-1"),
    "release": Hold("c-1", held=False),
    "archive": Archive("c-1"),
    "unite": update(merged_from=(("c-2", 1),)),
}
CHANGING = (
    "append",
    "merge",
    "overwrite",
    "share",
    "delete",
    "erase",
    "rollback",
    "freeze",
    "archive",
    "hold",
    "release",
    "unite",
)
REFUSED: dict[str, dict[str, type[MemosError]]] = {
    "live": dict.fromkeys(("restore", "unfreeze", "release"), IllegalStateError),
    "generated": dict.fromkeys(("restore", "unfreeze", "release"), IllegalStateError),
    "merged": dict.fromkeys(("restore", "unfreeze", "release"), IllegalStateError),
    "archived": dict.fromkeys(("archive", "unfreeze", "release"), IllegalStateError),
    "expired": dict.fromkeys(
        (name for name in OPERATIONS if name not in ("restore", "erase", "delete", "hold")),
        IllegalStateError,
    ),
    "frozen": dict.fromkeys((*CHANGING, "restore"), FrozenError),
    "deleted": dict.fromkeys(
        (name for name in OPERATIONS if name not in ("restore", "erase", "hold")), IllegalStateError
    ),
    "held": {
        "restore": IllegalStateError,
        "unfreeze": IllegalStateError,
        "hold": IllegalStateError,
        "delete": LegalHoldError,
        "erase": LegalHoldError,
    },
    "frozen+held": dict.fromkeys((*CHANGING, "restore"), FrozenError),
    "deleted+held": {
        **dict.fromkeys(
            (name for name in OPERATIONS if name not in ("restore", "release")), IllegalStateError
        ),
        "delete": LegalHoldError,
        "erase": LegalHoldError,
    },
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_in_every_state(name: str, state: str) -> None:
    head, operation, error = STATES[state], OPERATIONS[name], REFUSED[state].get(name)
    call = {"author": "user:bob", "now": LATER, "reason": "because", "target": FIRST}
    if error is not None:
        with pytest.raises(error) as caught:
            revise(operation, head, **call)  # type: ignore[arg-type]
        assert type(caught.value) is error
        assert caught.value.details["cube_id"] == "c-1"
        return
    cube = revise(operation, head, **call)  # type: ignore[arg-type]
    if name == "erase":
        assert cube is None
        return
    assert cube is not None
    version = cube.version
    change = Change.MERGE if name == "unite" else Change(name)
    assert (version.number, version.change) == (3, change)
    assert (version.author, version.created_at, version.reason) == ("user:bob", LATER, "because")
    assert version.parents[0] == ParentRef("c-1", 2)
    wire.check_digest(cube)
    assert cube.descriptive.updated_at == LATER
    assert cube.descriptive.created_at == START
    assert (cube.id, cube.provenance_id, cube.tenant, cube.namespace, cube.governance.owner) == (
        head.id,
        head.provenance_id,
        head.tenant,
        head.namespace,
        head.governance.owner,
    )
    states = {
        "delete": State.DELETED,
        "restore": State.ACTIVATED,
        "archive": State.ARCHIVED,
        "unite": State.MERGED,
        "freeze": head.state,
        "hold": head.state,
        "release": head.state,
    }
    kept = State.MERGED if head.state is State.MERGED else State.ACTIVATED
    assert cube.state is states.get(name, kept)
    assert cube.frozen is (name == "freeze")
    held = {"hold": True, "release": False}.get(name, head.governance.legal_hold)
    assert cube.governance.legal_hold is held


@pytest.mark.parametrize("name", OPERATIONS)
def test_another_version_than_expected_is_a_conflict_before_all_else(name: str) -> None:
    operation = replace(OPERATIONS[name], expected=1)
    for head in STATES.values():
        with pytest.raises(VersionConflictError) as caught:
            revise(operation, head, author="user:bob", now=LATER, reason=None, target=FIRST)
        assert caught.value.details == {"cube_id": "c-1", "expected": 1, "current": 2}


def test_the_expected_version_passes() -> None:
    assert revised(replace(OPERATIONS["merge"], expected=2), LIVE).version.number == 3


class TestCreate:
    def test_everything_that_is_given_is_kept(self) -> None:
        operation = Create(
            Plaintext("tea at four", "en", (Attachment("d", "image/png"),)),
            id="c-9",
            minted_id="unused",
            origin=Origin.IMPORT,
            semantic_type=SemanticType.EVENT,
            tags=("x",),
            setting=Setting("conv", "s1", 4, "Ann", "user"),
            event_time=START,
            valid_from=START,
            valid_to=LATER,
            mentions=(TimeSpan(START, LATER),),
            sources=(SourceRef(uri="https://example.org"),),
            attributes={"n": 1},
            visibility=Visibility.SHARED,
            readers=("user:bob",),
            writers=("agent:a",),
            sharers=("role:r",),
            lifespan=Decay(60.0),
            priority=5,
            sensitivity=("pii",),
            compliance=("gdpr",),
            watermark="w",
            legal_hold=True,
            provenance_id="origin",
        )
        cube = made(operation, reason="why", lsn=3)
        assert (cube.id, cube.provenance_id, cube.tenant) == ("c-9", "origin", "acme")
        assert (cube.version.number, cube.version.lsn, cube.version.parents) == (1, 3, ())
        assert (cube.version.change, cube.version.reason) == (Change.CREATE, "why")
        assert (cube.governance.owner, cube.version.author) == ("user:ann", "user:ann")
        assert cube.state is State.ACTIVATED
        wire.check_digest(cube)
        about, rules = cube.descriptive, cube.governance
        assert about.created_at == about.updated_at == START
        shared = {
            name: getattr(about, name, getattr(rules, name, None))
            for name in Create.__dataclass_fields__
            if hasattr(about, name) or hasattr(rules, name)
        }
        other = {"payload", "id", "minted_id", "provenance_id"}
        assert set(shared) == set(Create.__dataclass_fields__) - other
        assert shared == {name: getattr(operation, name) for name in shared}
        assert cube.payload == operation.payload
        assert cube.fingerprint == Fingerprint(simhash("tea at four"))

    def test_a_minted_id_and_the_defaults_stand_in(self) -> None:
        cube = made(
            Create(Plaintext("x"), minted_id="m-1"), default_visibility=Visibility.READ_ONLY
        )
        assert (cube.id, cube.provenance_id) == ("m-1", "m-1")
        assert cube.governance.visibility is Visibility.READ_ONLY

    @pytest.mark.parametrize(
        ("id", "namespace", "field"), [("", "notes", "id"), ("c", "", "namespace")]
    )
    def test_an_empty_name_is_refused(self, id: str, namespace: str, field: str) -> None:
        with pytest.raises(InvalidInputError) as caught:
            made(Create(Plaintext("x"), minted_id=id), namespace=namespace)
        assert caught.value.details == {"field": field}

    @pytest.mark.parametrize(
        "operation",
        [
            Create(Plaintext("x"), id="c", event_time=datetime(2026, 1, 1)),
            Create(Plaintext("x"), id="c", valid_from=datetime(2026, 1, 1)),
            Create(Plaintext("x"), id="c", valid_to=datetime(2026, 1, 1)),
            Create(Plaintext("x"), id="c", lifespan=ExpiresAt(datetime(2026, 1, 1))),
            Create(Plaintext("x"), id="c", mentions=(TimeSpan(START, datetime(2027, 1, 1)),)),
            Create(Plaintext("x"), id="c", tags=("\ud800",)),
            Create(Plaintext("x\udc80"), id="c"),
            Create(Plaintext("x"), id="c", attributes={"n": 2**70}),
        ],
    )
    def test_what_cannot_be_encoded_is_the_callers_mistake(self, operation: Create) -> None:
        with pytest.raises(InvalidInputError):
            made(operation)


class TestUpdate:
    def test_append_adds_text_and_unites_tags_and_attributes(self) -> None:
        change = update(UpdateMode.APPEND, text="three", tags=("b", "c"), attributes={"m": 2})
        cube = revised(change, LIVE)
        assert cube.text == "two\nthree"
        assert cube.descriptive.tags == ("a", "b", "c")
        assert cube.descriptive.attributes == {"n": 1, "m": 2}
        assert cube.fingerprint == Fingerprint(simhash("two\nthree"))
        assert cube.version.lsn == 7

    def test_merge_replaces_what_is_given_and_unites_tags_and_attributes(self) -> None:
        change = update(
            text="three",
            tags=("c",),
            attributes={"n": 9},
            semantic_type=SemanticType.EPISODE,
            event_time=START,
            valid_from=START,
            valid_to=LATER,
            lifespan=ExpiresAt(LATER),
            priority=3,
        )
        cube = revised(change, LIVE)
        about = cube.descriptive
        assert cube.text == "three"
        assert (about.tags, about.attributes) == (("a", "b", "c"), {"n": 9})
        assert about.semantic_type is SemanticType.EPISODE
        assert (about.event_time, about.valid_from, about.valid_to) == (START, START, LATER)
        assert (cube.governance.lifespan, cube.governance.priority) == (ExpiresAt(LATER), 3)

    def test_merge_without_text_keeps_the_text_and_its_fingerprint(self) -> None:
        embedded = replace(LIVE, fingerprint=replace(LIVE.fingerprint, sketch="ff"))
        cube = revised(update(tags=("c",)), embedded)
        assert cube.payload == LIVE.payload
        assert cube.fingerprint == embedded.fingerprint

    def test_overwrite_replaces_payload_tags_and_attributes(self) -> None:
        cube = revised(update(UpdateMode.OVERWRITE, text="three"), LIVE)
        assert (cube.text, cube.descriptive.tags, cube.descriptive.attributes) == ("three", (), {})
        cube = revised(update(UpdateMode.OVERWRITE, payload=ADAPTER, tags=("z",)), LIVE)
        assert (cube.payload, cube.descriptive.tags) == (ADAPTER, ("z",))
        assert cube.fingerprint == Fingerprint(simhash(""))

    def test_a_text_keeps_language_and_attachments(self) -> None:
        plain = Plaintext("one", "en", (Attachment("d", "image/png"),))
        head = make_cube(id="c-1", payload=plain)
        assert revised(update(text="two"), head).payload == replace(plain, text="two")
        appended = revised(update(UpdateMode.APPEND, text="two"), head)
        assert appended.payload == replace(plain, text="one\ntwo")

    def test_priority_zero_is_a_priority(self) -> None:
        head = make_cube(id="c-1", priority=5)
        assert revised(update(priority=0), head).governance.priority == 0

    def test_usage_does_not_travel_with_a_version(self) -> None:
        used = replace(LIVE, usage=Usage(access_count=3))
        assert revised(update(tags=("c",)), used).usage == Usage()

    @pytest.mark.parametrize(
        "operation",
        [
            update(),
            update(text="two"),
            update(tags=("a",)),
            update(attributes={"n": 1}),
            update(tags=(), attributes={}, priority=0),
            update(UpdateMode.OVERWRITE, text="two", tags=("a", "b"), attributes={"n": 1}),
        ],
    )
    def test_an_update_that_changes_nothing_is_refused(self, operation: Update) -> None:
        with pytest.raises(InvalidInputError, match="changes nothing"):
            revised(operation, LIVE)

    def test_a_merge_with_an_equal_memory_records_its_lineage(self) -> None:
        cube = revised(update(text="two", merged_from=(("c-2", 4), ("c-3", 1))), LIVE)
        assert cube.version.parents == (
            ParentRef("c-1", 2),
            ParentRef("c-2", 4),
            ParentRef("c-3", 1),
        )
        assert cube.payload == LIVE.payload

    @pytest.mark.parametrize(
        ("operation", "head"),
        [
            (update(text="x", payload=Plaintext("y")), LIVE),
            (update(UpdateMode.APPEND), LIVE),
            (update(UpdateMode.APPEND, payload=Plaintext("y")), LIVE),
            (update(UpdateMode.OVERWRITE, tags=("x",)), LIVE),
            (update(UpdateMode.APPEND, text="x"), make_cube(id="c-1", payload=ADAPTER)),
            (update(text="x"), make_cube(id="c-1", payload=ADAPTER)),
            (update(text="\ud800"), LIVE),
            (update(event_time=datetime(2026, 1, 1)), LIVE),
        ],
    )
    def test_an_update_that_makes_no_sense_is_refused(
        self, operation: Update, head: MemCube
    ) -> None:
        with pytest.raises(InvalidInputError):
            revised(operation, head)


class TestShare:
    def test_names_are_added_once_and_removed_everywhere(self) -> None:
        head = make_cube(id="c-1", readers=("user:a", "user:b"), writers=("user:b",))
        change = Share(
            "c-1",
            Visibility.SHARED,
            readers=("user:c", "user:a"),
            writers=("user:c",),
            sharers=("user:d", "user:b"),
            remove=("user:b",),
        )
        rules = revised(change, head).governance
        assert rules.visibility is Visibility.SHARED
        assert rules.readers == ("user:a", "user:c")
        assert (rules.writers, rules.sharers) == (("user:c",), ("user:d",))
        assert rules.owner == "user:ann"

    @pytest.mark.parametrize(
        "change",
        [
            Share("c-1"),
            Share("c-1", Visibility.PRIVATE),
            Share("c-1", readers=("user:a",)),
            Share("c-1", remove=("user:z",)),
            Share("c-1", writers=("user:z",), remove=("user:z",)),
        ],
    )
    def test_a_sharing_that_changes_nothing_is_refused(self, change: Share) -> None:
        with pytest.raises(InvalidInputError, match="changes nothing"):
            revised(change, make_cube(id="c-1", readers=("user:a",)))


class TestRollback:
    def test_content_goes_back_and_access_does_not(self) -> None:
        target = make_cube(
            "old",
            id="c-1",
            visibility=Visibility.SHARED,
            readers=("user:eve",),
            writers=("user:eve",),
            priority=9,
            tags=("old",),
            lifespan=ExpiresAt(LATER + timedelta(hours=1)),
        )
        head = replace(
            next_version(target, text="new", tags=("new",)),
            governance=replace(
                target.governance, visibility=Visibility.PRIVATE, readers=(), writers=()
            ),
        )
        cube = revised(Rollback("c-1", to=1), head, target=target)
        assert (cube.text, cube.descriptive.tags) == ("old", ("old",))
        assert cube.governance == head.governance
        assert cube.fingerprint == Fingerprint(simhash("old"))
        assert cube.version.parents == (ParentRef("c-1", 2), ParentRef("c-1", 1))
        assert cube.version.reason == "rollback to version 1"
        assert cube.descriptive.updated_at == LATER

    def test_a_given_reason_is_kept(self) -> None:
        cube = revised(Rollback("c-1", to=1), LIVE, target=FIRST, reason="mistake")
        assert cube.version.reason == "mistake"

    def test_the_state_of_the_target_does_not_come_back(self) -> None:
        deleted = replace(FIRST, state=State.DELETED)
        assert revised(Rollback("c-1", to=1), LIVE, target=deleted).state is State.ACTIVATED

    @pytest.mark.parametrize("to", [-1, 0, 2, 3])
    def test_only_an_earlier_version_is_a_target(self, to: int) -> None:
        with pytest.raises(InvalidInputError) as caught:
            revised(Rollback("c-1", to=to), LIVE, target=FIRST)
        assert caught.value.details == {"cube_id": "c-1", "to": to, "current": 2}

    def test_a_missing_target_is_refused(self) -> None:
        with pytest.raises(InvalidInputError, match="no such earlier version"):
            revised(Rollback("c-1", to=1), LIVE)


def test_time_does_not_run_backwards_along_a_chain() -> None:
    early = datetime(2020, 1, 1, tzinfo=UTC)
    cube = revised(update(tags=("c",)), LIVE, now=early)
    assert cube.version.created_at == LIVE.version.created_at
    assert cube.descriptive.updated_at == LIVE.version.created_at
