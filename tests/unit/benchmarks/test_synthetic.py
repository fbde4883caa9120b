"""The made-up conversations: the same everywhere, and with the statistics they claim."""

from __future__ import annotations

import re
from collections import Counter
from hashlib import sha256
from itertools import pairwise

from benchmarks.synthetic import questions, turns
from memos_ray.gateway.memories.models import NewMemory

PINNED_TURNS = "47a08aa7c7c1a08e7e6575d48f102d5628b4972314fe9620528035c8407c1fd5"
PINNED_QUESTIONS = "8eaecd0021bb865b82fa1a0e10bcd2b7b8a4c2aba9adbde39b7478eb6a4fb535"


def test_the_same_seed_gives_the_same_texts_on_every_machine() -> None:
    said = "\n".join(f"{turn.speaker} {turn.at} {turn.text}" for turn in turns(200, seed=7))
    assert sha256(said.encode()).hexdigest() == PINNED_TURNS
    asked = "\n".join(questions(turns(200, seed=7), 50, seed=7))
    assert sha256(asked.encode()).hexdigest() == PINNED_QUESTIONS


def test_a_longer_conversation_begins_with_the_shorter_one() -> None:
    assert turns(700)[:650] == turns(650)


def test_another_seed_gives_other_texts() -> None:
    assert not {t.text for t in turns(50, seed=1)} & {t.text for t in turns(50, seed=2)}


def test_turns_are_memories_in_order() -> None:
    said = turns(1300)
    assert all(NewMemory.model_validate(turn.fields()).text == turn.text for turn in said[:50])
    for before, after in pairwise(said):
        if before.conversation == after.conversation:
            assert after.position == before.position + 1
            assert after.at > before.at
            assert {before.speaker, before.role} & {after.speaker, after.role} == set()
        else:
            assert after.position == 0
    assert len({turn.conversation for turn in said}) == 3


def test_words_follow_zipf() -> None:
    words = Counter(w for t in turns(3000) for w in re.findall(r"[a-z]+", t.text.lower()))
    ranked = [count for _, count in words.most_common()]
    # A tenth of the frequency at ten times the rank, within what chance and dates allow.
    for rank in (2, 10, 30):
        assert 6 < ranked[rank] / ranked[10 * rank] < 16
    assert len(words) > 5000


def test_questions_ask_for_words_of_one_turn() -> None:
    said = turns(500)
    words = [set(re.findall(r"[a-z]+", turn.text.lower())) for turn in said]
    for question in questions(said, 40):
        frame = {"what", "when", "with", "talked", "about"}
        asked = {w for w in re.findall(r"\b[a-z]+\b", question) if len(w) > 3} - frame
        assert asked
        assert any(asked <= found for found in words)
