"""One group commit: each write has its own outcome, and all of them one commit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from memos_ray.core.access.context import Action, CallContext, Principal
from memos_ray.core.cube.cube import Change, MemCube, State
from memos_ray.core.cube.facets import Facets
from memos_ray.core.cube.metadata import Visibility
from memos_ray.core.cube.payload import Plaintext
from memos_ray.core.vault.log import ERASE, Commit, CubeKey, Outcome, Reply
from memos_ray.core.vault.needing import needs
from memos_ray.core.vault.operations import (
    Create,
    Delete,
    Freeze,
    Hold,
    Operation,
    Restore,
    Rollback,
    Share,
    Update,
    UpdateMode,
    Write,
    Written,
)
from memos_ray.core.vault.planning import Planner, Submission
from memos_ray.core.vault.quotas import Quotas
from memos_ray.errors import (
    AlreadyExistsError,
    FrozenError,
    IdempotencyConflictError,
    InvalidInputError,
    LegalHoldError,
    MemosError,
    NotFoundError,
    PermissionDeniedError,
    PolicyUnavailableError,
    VersionConflictError,
)
from memos_ray.testing.cubes import START, key_of, make_cube, next_version
from memos_ray.testing.guards import READ_ONLY, OwnerGuard

NOW = START + timedelta(days=1)
ANN = CallContext(
    Principal("acme", "user:ann", credential="k-1"),
    purpose="support",
    role="clerk",
    application="app",
    request_id="r-1",
)
BOB = CallContext(Principal("acme", "user:bob"))
ELSEWHERE = CallContext(Principal("other", "user:ann"))


def by(
    context: CallContext,
    operation: Operation,
    key: str | None = None,
    *,
    namespace: str = "notes",
    reason: str | None = None,
    retried: bool = False,
) -> Submission:
    return Submission(context, Write(namespace, operation, key, reason, retried))


def new(id: str | None = None, text: str = "x", *, minted: str = "", **given: object) -> Create:
    return Create(Plaintext(text), id=id, minted_id=minted, **given)  # type: ignore[arg-type]


def say(id: str, text: str, expected: int | None = None) -> Update:
    return Update(id, UpdateMode.MERGE, text=text, expected=expected)


def planner(
    heads: Iterable[MemCube] = (),
    *,
    replies: Iterable[Reply] = (),
    targets: Iterable[MemCube] = (),
    last_lsn: int = 10,
    guard: OwnerGuard | None = None,
) -> Planner:
    return Planner(
        partition=3,
        epoch=2,
        last_lsn=last_lsn,
        now=NOW,
        guard=guard or OwnerGuard(),
        heads={key_of(cube): cube for cube in heads},
        replies={(reply.tenant, reply.scope, reply.key): reply for reply in replies},
        targets={(key_of(cube), cube.version.number): cube for cube in targets},
        quotas=Quotas(guard or OwnerGuard(), lambda tenant, namespace: 0),
    )


def plan(
    *submissions: Submission,
    heads: Iterable[MemCube] = (),
    replies: Iterable[Reply] = (),
    targets: Iterable[MemCube] = (),
) -> tuple[list[Written | MemosError], Commit]:
    one = planner(heads, replies=replies, targets=targets)
    return [one.add(submission) for submission in submissions], one.commit()


def kinds(outcomes: Iterable[Written | MemosError]) -> list[type]:
    return [type(outcome) for outcome in outcomes]


class TestOutcomes:
    def test_each_write_has_its_own(self) -> None:
        mine = make_cube(id="mine", owner="user:ann")
        outcomes, commit = plan(
            by(ANN, new("a")),
            by(ANN, say("nowhere", "x")),
            by(ANN, say("mine", "new", expected=9)),
            by(ANN, new("mine")),
            by(ANN, say("mine", "new", expected=1)),
            by(BOB, Delete("mine")),
            by(ANN, say("mine", "new")),
            heads=[mine],
        )
        assert kinds(outcomes) == [
            Written,
            NotFoundError,
            VersionConflictError,
            AlreadyExistsError,
            Written,
            NotFoundError,
            InvalidInputError,
        ]
        assert outcomes[0] == Written("a", 1, 3, 11)
        assert outcomes[4] == Written("mine", 2, 3, 13)
        assert [(cube.id, cube.version.number) for cube in commit.cubes] == [("a", 1), ("mine", 2)]

    def test_lsns_go_on_without_gaps_and_versions_carry_theirs(self) -> None:
        outcomes, commit = plan(
            by(ANN, new("a")),
            by(BOB, say("a", "stolen")),
            by(ANN, new("b")),
            by(ANN, say("a", "again")),
        )
        assert [event.lsn for event in commit.events] == [11, 12, 13, 14]
        assert [outcome.lsn for outcome in outcomes if isinstance(outcome, Written)] == [11, 13, 14]
        assert [cube.version.lsn for cube in commit.cubes] == [11, 13, 14]
        assert (commit.partition, commit.epoch) == (3, 2)

    def test_writes_see_those_before_them(self) -> None:
        outcomes, commit = plan(
            by(ANN, new("a", "one", tags=("t",))),
            by(ANN, Update("a", UpdateMode.APPEND, text="two", expected=1)),
            by(ANN, Freeze("a")),
            by(ANN, say("a", "three")),
            by(ANN, Freeze("a", frozen=False)),
            by(ANN, say("a", "four", expected=4)),
        )
        assert kinds(outcomes) == [Written, Written, Written, FrozenError, Written, Written]
        assert [cube.text for cube in commit.cubes] == [
            "one",
            "one\ntwo",
            "one\ntwo",
            "one\ntwo",
            "four",
        ]
        assert [cube.version.number for cube in commit.cubes] == [1, 2, 3, 4, 5]
        assert commit.cubes[-1].descriptive.tags == ("t",)

    def test_one_compare_and_set_of_several_wins(self) -> None:
        outcomes, commit = plan(
            *(by(ANN, say("c", f"text {n}", expected=1)) for n in range(4)),
            heads=[make_cube(id="c", owner="user:ann")],
        )
        assert kinds(outcomes) == [Written, *[VersionConflictError] * 3]
        assert [cube.text for cube in commit.cubes] == ["text 0"]

    def test_an_empty_batch_commits_nothing(self) -> None:
        assert plan()[1] == Commit(3, 2)

    def test_tenants_do_not_meet(self) -> None:
        outcomes, commit = plan(
            by(ANN, new("a")), by(ELSEWHERE, new("a")), by(ELSEWHERE, say("a", "z"))
        )
        assert kinds(outcomes) == [Written, Written, Written]
        assert [(c.tenant, c.version.number) for c in commit.cubes] == [
            ("acme", 1),
            ("other", 1),
            ("other", 2),
        ]

    def test_a_memory_is_found_in_its_namespace_or_by_id_alone(self) -> None:
        head = make_cube(id="c", owner="user:ann", namespace="diary")
        outcomes, commit = plan(
            by(ANN, say("c", "one"), namespace="notes"),
            by(ANN, say("c", "two"), namespace=""),
            by(ANN, say("c", "three"), namespace="diary"),
            heads=[head],
        )
        assert kinds(outcomes) == [NotFoundError, Written, Written]
        assert [event.namespace for event in commit.events] == ["notes", "diary", "diary"]

    def test_a_namespace_is_needed_to_create(self) -> None:
        outcomes, commit = plan(by(ANN, new("a"), namespace=""))
        assert kinds(outcomes) == [InvalidInputError]
        assert commit == Commit(3, 2)

    def test_legal_hold_concerns_one_item(self) -> None:
        held = make_cube(id="h", owner="user:ann", legal_hold=True)
        outcomes, commit = plan(by(ANN, Delete("h", hard=True)), by(ANN, new("a")), heads=[held])
        assert kinds(outcomes) == [LegalHoldError, Written]
        assert commit.erased == ()


class TestUnstorable:
    @pytest.mark.parametrize(
        "submission",
        [
            by(ANN, new("a"), reason="\ud800"),
            by(ANN, new("a"), reason="nul\0"),
            by(ANN, new("a"), "key\ud800"),
            by(ANN, new("a"), "k" * 513),
            by(ANN, new("a\0")),
            by(ANN, new("a" * 513)),
            by(ANN, new("a"), namespace="n\ud800"),
            by(ANN, new("a", "text \ud800")),
            by(ANN, new("a", tags=("nul\0",))),
            by(ANN, new("a", attributes={"n": 2**64}), "key"),
            by(ANN, new("a", attributes={"n": 2**63})),
            by(ANN, new("a", attributes={"x": float("nan")})),
            by(ANN, new("a", tags=("\ud800",)), "key"),
            by(replace(ANN, purpose="\ud800"), new("a")),
            by(replace(ANN, application="nul\0"), new("a")),
            by(replace(ANN, request_id="r" * 600), new("a")),
            by(replace(BOB, purpose="\ud800"), say("mine", "x")),
        ],
    )
    def test_a_write_that_no_store_can_hold_leaves_no_trace(self, submission: Submission) -> None:
        """It would fail the whole transaction, with everybody else's writes."""
        outcomes, commit = plan(submission, heads=[make_cube(id="mine", owner="user:ann")])
        assert kinds(outcomes) == [InvalidInputError]
        assert commit == Commit(3, 2)


class TestIdempotency:
    def test_a_replay_gets_the_first_answer_and_has_no_effect(self) -> None:
        first, commit = plan(by(ANN, new("a"), "k"))
        (answer,) = first
        assert isinstance(answer, Written)
        again, nothing = plan(by(ANN, new("a"), "k"), heads=commit.cubes, replies=commit.replies)
        assert again == [replace(answer, replayed=True)]
        assert nothing == Commit(3, 2)

    def test_a_duplicate_in_the_same_batch_has_one_effect(self) -> None:
        outcomes, commit = plan(*[by(ANN, new(minted=f"m-{n}"), "k") for n in range(3)])
        written = Written("m-0", 1, 3, 11)
        assert outcomes == [written, *[replace(written, replayed=True)] * 2]
        assert [cube.id for cube in commit.cubes] == ["m-0"]
        assert len(commit.replies) == len(commit.events) == 1

    @pytest.mark.parametrize(
        "other",
        [
            by(ANN, new("a", "another text"), "k"),
            by(ANN, new("b"), "k"),
            by(ANN, Delete("a"), "k"),
            by(ANN, new("a"), "k", namespace="other"),
            by(ANN, new("a"), "k", reason="because"),
            by(ANN, new("a", tags=("t",)), "k"),
        ],
    )
    def test_another_request_under_the_key_is_a_conflict(self, other: Submission) -> None:
        outcomes, commit = plan(by(ANN, new("a"), "k"), other)
        assert kinds(outcomes) == [Written, IdempotencyConflictError]
        assert len(commit.cubes) == len(commit.events) == 1

    def test_what_is_known_by_its_key_is_the_answer_in_its_namespace(self) -> None:
        again = by(ANN, new("b", "another text"), "k")
        known = replace(again, write=replace(again.write, known_by_key=True))
        elsewhere = replace(known, write=replace(known.write, namespace="other"))
        outcomes, commit = plan(by(ANN, new("a"), "k"), known, elsewhere)
        assert kinds(outcomes) == [Written, Written, IdempotencyConflictError]
        (first, second, _) = outcomes
        assert isinstance(first, Written) and second == replace(first, replayed=True)
        assert len(commit.cubes) == len(commit.events) == 1

    def test_principals_and_tenants_have_their_own_keys(self) -> None:
        outcomes, commit = plan(
            by(ANN, new("a"), "k"), by(BOB, new("b"), "k"), by(ELSEWHERE, new("a"), "k")
        )
        assert kinds(outcomes) == [Written] * 3
        assert not any(isinstance(o, Written) and o.replayed for o in outcomes)
        assert {(r.tenant, r.scope) for r in commit.replies} == {
            ("acme", "user:ann"),
            ("acme", "user:bob"),
            ("other", "user:ann"),
        }

    def test_a_refused_write_is_decided_anew_each_time(self) -> None:
        head = make_cube(id="c", owner="user:ann", visibility=Visibility.SHARED)
        outcomes, commit = plan(
            by(BOB, say("c", "mine now"), "k"),
            by(ANN, Share("c", writers=("user:bob",))),
            by(BOB, say("c", "mine now"), "k"),
            heads=[head],
        )
        assert kinds(outcomes) == [PermissionDeniedError, Written, Written]
        assert [reply.key for reply in commit.replies] == ["k"]

    def test_the_answer_outlives_the_memory(self) -> None:
        """A retried creation must not bring back what has been erased since."""
        outcomes, commit = plan(
            by(ANN, new("a"), "k"), by(ANN, Delete("a", hard=True)), by(ANN, new("a"), "k")
        )
        assert outcomes[2] == Written("a", 1, 3, 11, replayed=True)
        assert commit.cubes == ()

    def test_an_erasure_is_replayed(self) -> None:
        head = make_cube(id="c", owner="user:ann")
        erase = by(ANN, Delete("c", hard=True), "k")
        outcomes, commit = plan(erase, erase, heads=[head])
        assert outcomes == [Written("c", 0, 3, 11), Written("c", 0, 3, 11, replayed=True)]
        assert commit.erased == (key_of(head),)


class TestRetriesWithoutAKey:
    def test_a_minted_id_that_is_there_is_the_writes_own(self) -> None:
        cube = make_cube(id="m", owner="user:ann")
        head = replace(cube, version=replace(cube.version, lsn=7))
        outcomes, commit = plan(by(ANN, new(minted="m"), retried=True), heads=[head])
        assert outcomes == [Written("m", 1, 3, 7, replayed=True)]
        assert commit == Commit(3, 2)

    def test_a_retry_that_had_no_effect_has_it_now(self) -> None:
        outcomes, _ = plan(by(ANN, new(minted="m"), retried=True))
        assert outcomes == [Written("m", 1, 3, 11)]

    @pytest.mark.parametrize(
        ("submission", "head"),
        [
            (by(ANN, new("m"), retried=True), make_cube(id="m", owner="user:ann")),
            (by(BOB, new(minted="m"), retried=True), make_cube(id="m", owner="user:ann")),
            (
                by(ANN, new(minted="m"), retried=True),
                make_cube(id="m", owner="user:ann", namespace="diary"),
            ),
            (by(ANN, new(minted="m")), make_cube(id="m", owner="user:ann")),
        ],
        ids=["chosen id", "another's memory", "another namespace", "no retry"],
    )
    def test_anything_else_is_taken(self, submission: Submission, head: MemCube) -> None:
        outcomes, _ = plan(submission, heads=[head])
        assert kinds(outcomes) == [AlreadyExistsError]


class TestErasure:
    def test_every_version_of_the_batch_goes(self) -> None:
        outcomes, commit = plan(
            by(ANN, new("a")), by(ANN, say("a", "y")), by(ANN, Delete("a", hard=True))
        )
        assert outcomes[2] == Written("a", 0, 3, 13)
        assert commit.cubes == ()
        assert commit.erased == (CubeKey("acme", "a"),)
        assert [event.operation for event in commit.events] == ["create", "merge", ERASE]

    def test_an_id_can_be_given_anew_in_the_same_batch(self) -> None:
        head = make_cube("old", id="c", owner="user:ann")
        outcomes, commit = plan(
            by(ANN, Delete("c", hard=True)),
            by(ANN, say("c", "ghost")),
            by(ANN, new("c", "young")),
            by(ANN, say("c", "older", expected=1)),
            heads=[head],
        )
        assert kinds(outcomes) == [Written, NotFoundError, Written, Written]
        assert commit.erased == (key_of(head),)
        assert [(c.text, c.version.number) for c in commit.cubes] == [("young", 1), ("older", 2)]

    def test_erasing_twice_names_the_cube_once(self) -> None:
        head = make_cube(id="c", owner="user:ann")
        erase = by(ANN, Delete("c", hard=True))
        outcomes, commit = plan(erase, by(ANN, new("c")), erase, erase, heads=[head])
        assert kinds(outcomes) == [Written, Written, Written, NotFoundError]
        assert commit.erased == (key_of(head),)
        assert commit.cubes == ()

    def test_a_rollback_cannot_reach_into_an_erased_memory(self) -> None:
        old = make_cube("secret", id="c", owner="user:ann")
        head = next_version(old, text="public")
        outcomes, commit = plan(
            by(ANN, Delete("c", hard=True)),
            by(ANN, new("c", "fresh")),
            by(ANN, say("c", "fresher")),
            by(ANN, Rollback("c", to=1)),
            heads=[head],
            targets=[old],
        )
        assert kinds(outcomes) == [Written] * 4
        assert [cube.text for cube in commit.cubes] == ["fresh", "fresher", "fresh"]


class TestRollback:
    def test_to_a_stored_version(self) -> None:
        old = make_cube("one", id="c", owner="user:ann")
        outcomes, commit = plan(
            by(ANN, Rollback("c", to=1, expected=2)),
            heads=[next_version(old, text="two")],
            targets=[old],
        )
        assert outcomes == [Written("c", 3, 3, 11)]
        assert commit.cubes[0].text == "one"
        assert commit.cubes[0].version.change is Change.ROLLBACK

    def test_to_a_version_of_the_same_batch(self) -> None:
        outcomes, commit = plan(
            by(ANN, new("c", "one")), by(ANN, say("c", "two")), by(ANN, Rollback("c", to=1))
        )
        assert kinds(outcomes) == [Written] * 3
        assert commit.cubes[-1].text == "one"

    def test_to_a_version_that_is_not_there(self) -> None:
        outcomes, commit = plan(
            by(ANN, Rollback("c", to=1)), heads=[next_version(make_cube(id="c"), text="two")]
        )
        assert kinds(outcomes) == [InvalidInputError]
        assert commit.events == ()


class TestLog:
    def test_an_event_says_who_did_what_under_which_circumstances(self) -> None:
        _, commit = plan(by(ANN, new("a")))
        (event,) = commit.events
        assert (event.at, event.tenant, event.namespace) == (NOW, "acme", "notes")
        assert (event.principal, event.credential) == ("user:ann", "k-1")
        assert (event.purpose, event.role, event.application) == ("support", "clerk", "app")
        assert event.request_id == "r-1"
        assert (event.operation, event.cube_id, event.version) == ("create", "a", 1)
        assert (event.outcome, event.detail) == (Outcome.DONE, {})

    def test_denials_are_logged_with_their_code_and_no_version(self) -> None:
        shown = make_cube(id="shown", owner="user:ann", visibility=Visibility.SHARED)
        hidden = make_cube(id="hidden", owner="user:ann", namespace="diary")
        outcomes, commit = plan(
            by(BOB, say("shown", "x")),
            by(BOB, say("hidden", "x"), namespace="diary"),
            by(BOB, say("nowhere", "x")),
            by(BOB, new("n"), namespace=READ_ONLY),
            by(BOB, Delete("hidden", hard=True), namespace=""),
            heads=[shown, hidden],
        )
        assert kinds(outcomes) == [
            PermissionDeniedError,
            NotFoundError,
            NotFoundError,
            PermissionDeniedError,
            NotFoundError,
        ]
        found = [(e.operation, e.namespace, e.cube_id, e.detail["code"]) for e in commit.events]
        assert found == [
            ("merge", "notes", "shown", "permission_denied"),
            ("merge", "diary", "hidden", "not_found"),
            ("merge", "notes", "nowhere", "not_found"),
            ("create", READ_ONLY, "n", "permission_denied"),
            (ERASE, "diary", "hidden", "not_found"),
        ]
        assert {event.outcome for event in commit.events} == {Outcome.DENIED}
        assert {event.version for event in commit.events} == {None}
        assert [event.lsn for event in commit.events] == [11, 12, 13, 14, 15]
        assert commit.cubes == ()

    def test_an_id_that_is_taken_is_not_told_to_those_who_may_not_create(self) -> None:
        taken = make_cube(id="taken", owner="user:ann", namespace=READ_ONLY)
        outcomes, _ = plan(by(BOB, new("taken"), namespace=READ_ONLY), heads=[taken])
        assert kinds(outcomes) == [PermissionDeniedError]

    @pytest.mark.parametrize(
        ("operation", "verb"),
        [
            (new("n"), "create"),
            (Update("c", UpdateMode.APPEND, text="x"), "append"),
            (Update("c", UpdateMode.MERGE, text="x"), "merge"),
            (Update("c", UpdateMode.OVERWRITE, text="x"), "overwrite"),
            (Share("c", readers=("user:eve",)), "share"),
            (Delete("c"), "delete"),
            (Delete("c", hard=True), ERASE),
            (Restore("d"), "restore"),
            (Rollback("c", to=1), "rollback"),
            (Freeze("c"), "freeze"),
            (Freeze("f", frozen=False), "unfreeze"),
            (Hold("c"), "hold"),
            (Hold("h", held=False), "release"),
        ],
    )
    def test_a_denied_operation_is_called_as_a_done_one(
        self, operation: Operation, verb: str
    ) -> None:
        old = make_cube(id="c", owner="user:ann")
        heads = [
            next_version(old, text="two"),
            replace(make_cube(id="d", owner="user:ann"), state=State.DELETED),
            make_cube(id="f", owner="user:ann", frozen=True),
            make_cube(id="h", owner="user:ann", legal_hold=True),
        ]
        _, done = plan(by(ANN, operation), heads=heads, targets=[old])
        place = READ_ONLY if isinstance(operation, Create) else "notes"
        _, denied = plan(by(BOB, operation, namespace=place), heads=heads, targets=[old])
        assert [(e.operation, e.outcome) for e in done.events] == [(verb, Outcome.DONE)]
        assert [(e.operation, e.outcome) for e in denied.events] == [(verb, Outcome.DENIED)]
        if done.cubes:
            assert done.cubes[0].version.change.value == verb


class TestGuard:
    def test_each_operation_asks_for_its_action_on_the_memory_it_finds(self) -> None:
        asked: list[tuple[Action, str, str, bool]] = []

        class Recorder(OwnerGuard):
            def check(
                self,
                context: CallContext,
                action: Action,
                namespace: str,
                facets: Facets,
                now: datetime,
            ) -> None:
                state, frozen = str(facets["state"]), bool(facets["frozen"])
                asked.append((action, namespace, state, frozen))

        one = planner(guard=Recorder())
        for operation in (
            new("c"),
            say("c", "y"),
            Share("c", readers=("user:eve",)),
            Rollback("c", to=1),
            Freeze("c"),
            Freeze("c", frozen=False),
            Delete("c"),
            Restore("c"),
            Delete("c", hard=True),
        ):
            assert isinstance(one.add(by(ANN, operation)), Written), operation
        assert asked == [
            (Action.CREATE, "notes", "activated", False),
            (Action.UPDATE, "notes", "activated", False),
            (Action.SHARE, "notes", "activated", False),
            (Action.UPDATE, "notes", "activated", False),
            (Action.UPDATE, "notes", "activated", False),
            (Action.UPDATE, "notes", "activated", True),
            (Action.DELETE, "notes", "activated", False),
            (Action.UPDATE, "notes", "deleted", False),
            (Action.DELETE, "notes", "activated", False),
        ]

    def test_a_creation_is_judged_by_the_memory_about_to_be_made(self) -> None:
        class NoSecrets(OwnerGuard):
            def check(
                self,
                context: CallContext,
                action: Action,
                namespace: str,
                facets: Facets,
                now: datetime,
            ) -> None:
                if facets.get("sensitivity") == ("secret",):
                    raise PermissionDeniedError("no secrets here")

        one = planner(guard=NoSecrets())
        assert isinstance(one.add(by(ANN, new("a"))), Written)
        assert kinds([one.add(by(ANN, new("b", sensitivity=("secret",))))]) == [
            PermissionDeniedError
        ]

    def test_a_tenant_without_policy_does_not_fail_the_others(self) -> None:
        class Away(OwnerGuard):
            def check(
                self,
                context: CallContext,
                action: Action,
                namespace: str,
                facets: Facets,
                now: datetime,
            ) -> None:
                if context.principal.tenant == "other":
                    raise PolicyUnavailableError("out of lease", tenant="other")

        one = planner(guard=Away())
        outcomes = [one.add(by(ELSEWHERE, new("a"))), one.add(by(ANN, new("a")))]
        assert kinds(outcomes) == [PolicyUnavailableError, Written]
        assert [event.tenant for event in one.commit().events] == ["acme"]


class TestNeeds:
    def test_what_must_be_read(self) -> None:
        found = needs(
            [
                by(ANN, new("chosen"), "k1"),
                by(ANN, new(minted="minted"), "k2"),
                by(ANN, new(minted="again"), retried=True),
                by(BOB, Rollback("c", to=4), "k1"),
                by(ELSEWHERE, say("c", "x")),
            ]
        )
        assert found.heads == {
            CubeKey("acme", "chosen"),
            CubeKey("acme", "again"),
            CubeKey("acme", "c"),
            CubeKey("other", "c"),
        }
        assert found.replies == {("acme", "user:ann"): ("k1", "k2"), ("acme", "user:bob"): ("k1",)}
        assert found.targets == {(CubeKey("acme", "c"), 4)}

    def test_minted_ids_are_looked_up_when_they_are_not_trusted(self) -> None:
        write = by(ANN, new(minted="m"))
        assert needs([write]).heads == frozenset()
        assert needs([write], trust_minted=False).heads == {CubeKey("acme", "m")}
