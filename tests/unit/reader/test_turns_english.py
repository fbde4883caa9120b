"""English questions in a dialogue (READ-2): who, what, where and when is meant."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from memos_ray.core.reader.turns import MAX_TURNS, Rewriting, Slot, Turn, rewrite

NOW = datetime(2024, 8, 20, 12, tzinfo=UTC)


def asked(*said: str) -> Rewriting:
    """Rewrites the last of what is said; questions and answers take turns, beginning with one."""
    turns = [Turn(text, place % 2 == 0) for place, text in enumerate(said[:-1])]
    return rewrite(said[-1], turns, NOW, UTC)


@pytest.mark.parametrize(
    ("question", "answer", "follow_up", "alone"),
    [
        ("Where does Ingrid live?", "In Duluth.", "What does she do?", "What does Ingrid do?"),
        ("Who sewed the dress?", "Dolores.", "What does she play?", "What does Dolores play?"),
        ("When did Ann meet Dora?", "On Tuesday.", "What did she wear?", "What did Ann wear?"),
        ("Where does Bo work?", "He is a cook.", "How old is he?", "How old is Bo?"),
        ("Where does Alice live?", "In Rome.", "Is her house big?", "Is Alice's house big?"),
        ("Is Tom at home?", "No.", "Did Ann call him?", "Did Ann call Tom?"),
        (
            "What does Tom's father do?",
            "He plays the piano.",
            "How is his wrist?",
            "How is Tom's father's wrist?",
        ),
        ("Who is Clara?", "Clara is my sister.", "Where is she?", "Where is Clara?"),
    ],
)
def test_READ_2_a_pronoun_takes_the_person_who_was_spoken_of(
    question: str, answer: str, follow_up: str, alone: str
) -> None:
    found = asked(question, answer, follow_up)
    assert found.text == alone
    assert [one.slot for one in found.filled] == [Slot.PERSON]
    assert all(one.reason for one in found.decisions)


@pytest.mark.parametrize(
    ("question", "answer", "follow_up", "alone"),
    [
        (
            "What did Ann buy?",
            "A small concertina, from a cook.",
            "How much did it cost?",
            "How much did the small concertina cost?",
        ),
        (
            "Where did Ann buy the car?",
            "At the harbour.",
            "How old is it?",
            "How old is the car?",
        ),
        ("Who owns the boat?", "Ann.", "Who wants that?", "Who wants the boat?"),
        (
            "Did Ann and Bob move?",
            "Yes.",
            "Where do they live?",
            "Where do Ann and Bob live?",
        ),
        (
            "Where does Ingrid live?",
            "In Duluth.",
            "What can one see there?",
            "What can one see in Duluth?",
        ),
        (
            "Where does Ingrid live?",
            "In Duluth.",
            "When did Bob move there?",
            "When did Bob move to Duluth?",
        ),
        (
            "What did Bob do in March 2023?",
            "He slept.",
            "Where was Ann then?",
            "Where was Ann in March 2023?",
        ),
        (
            "Who is older, Miso or Tofu?",
            "Miso.",
            "How heavy is the other one?",
            "How heavy is Tofu?",
        ),
        ("Do you know Ann and Bob?", "Yes.", "Where does the latter live?", "Where does Bob live?"),
    ],
)
def test_READ_2_things_groups_places_and_times_are_filled_in(
    question: str, answer: str, follow_up: str, alone: str
) -> None:
    assert asked(question, answer, follow_up).text == alone


@pytest.mark.parametrize(
    ("question", "answer", "follow_up", "alone"),
    [
        ("What did Bob do in March 2023?", "x", "And in April?", "What did Bob do in April?"),
        ("What did Bob do in March?", "x", "what about last year?", "What did Bob do last year?"),
        ("Where does Alice live?", "In Rome.", "What about Bob?", "Where does Bob live?"),
        (
            "Where does Alice live?",
            "In Rome.",
            "And her sister?",
            "Where does Alice's sister live?",
        ),
        ("Does Ann like tea?", "Yes.", "and does Bob?", "Does Bob like tea?"),
        ("Did Ann sell the car?", "Yes.", "Why?", "Why did Ann sell the car?"),
        ("Did Ann sell the car?", "No, she kept it.", "Why?", "Why didn't Ann sell the car?"),
        ("When did Ann sell the car?", "In May.", "Thanks! Why?", "Why did Ann sell the car?"),
        ("Did Ann sell the car?", "Yes.", "When did that happen?", "When did Ann sell the car?"),
        ("What did Ann buy?", "A boat.", "When?", "When did Ann buy a boat?"),
        ("Who sold the boat?", "Ann.", "When?", "When was it that Ann sold the boat?"),
        ("What did Ann record?", "A horn.", "Anything else?", "What else did Ann record?"),
        ("What did Ann say about Bo?", "x", "And about Clara?", "What did Ann say about Clara?"),
        ("Where is Ann's car?", "Here.", "And the boat?", "Where is Ann's boat?"),
        ("What did Ann do in Rome?", "x", "And in Paris?", "What did Ann do in Paris?"),
        ("How was Ann's first exam?", "Bad.", "And the second one?", "How was Ann's second exam?"),
        ("Which plot did Bo have?", "17.", "Which one has he now?", "Which plot has Bo now?"),
        ("What did Ann do?", "She taught for us.", "How long?", "How long: Ann taught for us?"),
        ("How was the trip?", "Bad.", "What went wrong?", "What went wrong: How was the trip?"),
        ("Does Ann know Bo?", "Yes.", "Does she like him?", "Does Ann like Bo?"),
    ],
)
def test_READ_2_a_fragment_is_completed_from_the_question_before(
    question: str, answer: str, follow_up: str, alone: str
) -> None:
    assert asked(question, answer, follow_up).text == alone


def test_READ_2_fragments_build_on_completed_fragments() -> None:
    found = asked(
        "What did Bob do in March?", "x", "And in April?", "y", "What about Clara?", "z", "Why?"
    )
    assert found.text == "Why did Clara do in April?".replace("do in", "do y in") or found.text == (
        "Why did Clara do in April?"
    )


@pytest.mark.parametrize(
    ("question", "follow_up", "alone", "slot"),
    [
        (
            "What did Bob do in March?",
            "And what did Ann do?",
            "What did Ann do in March?",
            Slot.TIME,
        ),
        (
            "in namespace team/a, what did Bob say?",
            "And what did Ann say?",
            "What did Ann say in namespace team/a?",
            Slot.SCOPE,
        ),
        (
            "What did Bob do in Rome?",
            "And whom did Ann meet?",
            "Whom did Ann meet in Rome?",
            Slot.PLACE,
        ),
        (
            "When did Bob fly to Porto?",
            "And how long was the flight?",
            "How long was the flight regarding Bob and Porto?",
            Slot.TOPIC,
        ),
    ],
)
def test_READ_2_and_carries_time_place_scope_and_topic(
    question: str, follow_up: str, alone: str, slot: Slot
) -> None:
    found = asked(question, "x", follow_up)
    assert slot in {one.slot for one in found.filled}
    assert found.text.startswith(alone.rstrip("?"))


@pytest.mark.parametrize(
    "alone",
    [
        "What did Bram do in March?",
        "Where does Ann live?  ",
        "Would Dora move back to her home town?",
        "What did Dora and her sons see on their trip?",
        "Why does Dora think it's important for children to read?",
        "When did Dora bake bread and share it with us?",
        "How should I add links so that people click them?",
        "How far into her course will Dora be in May?",
        "What would be a good plan for his farm for Bo to make?",
        "Who made it to the finals?",
        "What did it cost Dora to get the roof mended?",
        "Did Ann sell her car?",
        "What time is it?",
        "Is it raining?",
        "Is there a rat in this museum?",
        "When does the train to Oslo leave?",
        "Thanks!",
        "ok",
        "remember that Ann likes tea",
        "What did we decide about the budget?",
        "",
        "  ",
        "And what did Zuri say to Tom?",
        "and Bob likes tea",
        "So what's new?",
        "What's it like to live in Oslo?",
        "What?",
        "And thanks for the help!",
        "but I don't know",
    ],
)
def test_READ_2_what_stands_alone_is_left_byte_for_byte(alone: str) -> None:
    found = asked("Who owns the boat?", "Clara, since May.", alone)
    assert found.text == alone
    assert not found.filled


@pytest.mark.parametrize(
    ("dialogue", "follow_up", "reason"),
    [
        (("Is it cold?", "Yes."), "Where does she live?", "nothing in the dialogue fits"),
        (("Is Jo Lee and Kit Ray at home?", "No."), "Where does he live?", "ambiguous"),
        (("Is it cold?", "Yes."), "What can one see there?", "no place was named"),
        (("Is it cold?", "Yes."), "Where was I then?", "no time was named"),
        (("Is it cold?", "Yes."), "How old is the other one?", "no two were named"),
        (("Do you know Ann and Bob?", "Yes."), "How old is the other one?", "ambiguous"),
    ],
)
def test_READ_2_nobody_is_invented_and_the_reason_is_told(
    dialogue: tuple[str, ...], follow_up: str, reason: str
) -> None:
    found = asked(*dialogue, follow_up)
    assert found.text == follow_up
    assert any(one.meant is None and reason in one.reason for one in found.decisions)


def test_READ_2_a_man_is_not_she() -> None:
    found = asked("Where do Peter and Clara live?", "In Oslo.", "What does she do?")
    assert found.text == "What does Clara do?"


def test_READ_2_what_was_told_completes_a_question_too() -> None:
    turns = [Turn("Hello!"), Turn("Bram's bike was stolen on Thursday.", asked=False)]
    found = rewrite("Where did that happen?", turns, NOW, UTC)
    assert found.text.startswith("Where did that happen: Bram's bike was stolen")
    assert rewrite(found.text, turns, NOW, UTC).text == found.text


def test_READ_2_only_the_latest_turns_are_looked_at() -> None:
    turns = [Turn("Where does Ann live?"), *(Turn(f"Is it {n}?") for n in range(MAX_TURNS))]
    assert rewrite("What does she do?", turns, NOW, UTC).text == "What does she do?"
    assert rewrite("What does she do?", turns[:5], NOW, UTC).text == "What does Ann do?"
