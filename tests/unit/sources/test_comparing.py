"""What a source says against what is held: numbers, denials, bounds, statements (APP-3)."""

from __future__ import annotations

import pytest

from memos_ray.core.sources import Kind, Section, align, compare, compare_editions

CONTRADICTIONS = [
    (
        "The target blood pressure for adults is below 140 mmHg.",
        "## Targets\nThe target blood pressure for adults is below 130 mmHg. Measure it twice.",
        "140 → 130",
    ),
    (
        "Aspirin is recommended for primary prevention in older adults.",
        "Aspirin is not recommended for primary prevention in older adults.",
        "denied now",
    ),
    (
        "Ramipril may be used in pregnancy.",
        "Ramipril is contraindicated in pregnancy.",
        "denied now",
    ),
    (
        "Keep the vaccine at a temperature of at least 8 degrees.",
        "Keep the vaccine at a temperature of at most 8 degrees.",
        "at least → at most",
    ),
    (
        "Metformin is taken once daily with the evening meal.",
        "Metformin is taken twice daily with the evening meal.",
        "1 → 2",
    ),
    ("成人每日盐摄入量不超过6克。", "成人每日盐摄入量不超过5克。", "6 → 5"),
    ("孕妇可以使用雷米普利治疗高血压。", "孕妇禁止使用雷米普利治疗高血压。", "denied now"),
    ("Ann's birthday is on 3 May.", "Ann's birthday is on 4 May.", "birthday of ann"),
    # Broken to fit a page.
    (
        "The target blood pressure for adults is below 140 mmHg.",
        "Targets\nThe target blood pressure for adults is below\n130 mmHg. It is measured twice.",
        "140 → 130",
    ),
    (
        "成年高血压患者无论年龄和性别每日食盐的摄入量不超过6克。",
        "盐\n成年高血压患者无论年龄和性别每日食盐的\n摄入量不超过5克。",
        "6 → 5",
    ),
]


@pytest.mark.parametrize(("held", "said", "reason"), CONTRADICTIONS)
def test_APP_3_a_contradiction_is_found_and_says_why(held: str, said: str, reason: str) -> None:
    verdict = compare(held, said)
    assert verdict is not None and verdict.kind is Kind.CONTRADICTED
    assert any(reason in one for one in verdict.reasons), verdict.reasons
    assert 0.5 < verdict.confidence <= 0.95


@pytest.mark.parametrize(
    ("held", "said"),
    [
        # The same, in other words or at more length.
        ("The target is below 130 mmHg.", "The target is below 130 mmHg in most adults."),
        ("No more than 6 g of salt a day.", "At most 6 g of salt a day."),
        ("Doses over 1,000 mg need a check.", "Doses over 1000 mg need a check."),
        # Of other people, or of something else.
        (
            "For adults with hypertension the starting dose of ramipril is 5 mg daily.",
            "For children with hypertension the starting dose of ramipril is 2 mg daily.",
        ),
        ("The meeting room has 12 chairs.", "The target blood pressure is below 130 mmHg."),
        ("Is aspirin recommended for 10 days?", "Aspirin is recommended for 5 days."),
        ("My flat is on floor 3.", "Adults should drink 2 litres a day."),
    ],
)
def test_APP_3_what_is_no_contradiction(held: str, said: str) -> None:
    assert compare(held, said) is None


def test_APP_3_the_sentence_that_fits_best_is_compared() -> None:
    said = "Adults take 500 mg twice daily. Children take 250 mg twice daily."
    assert compare("Adults take 500 mg twice daily.", said) is None
    verdict = compare("Children take 300 mg twice daily.", said)
    assert verdict is not None and "300 → 250" in verdict.reasons[0]


def test_APP_3_sections_of_two_editions() -> None:
    same = compare_editions("# 1 A\nRest is advised.", "# 2 A\nRest is  advised.")
    assert same.kind is Kind.UNCHANGED
    revised = compare_editions("Rest and drink water.", "Rest, and see a nurse soon.")
    assert revised.kind is Kind.REVISED
    assert revised.reasons[0].startswith("no longer: Rest and drink")
    changed = compare_editions(
        "Start with lifestyle for 6 months in most patients.",
        "Begin with lifestyle for 3 months in most patients.",
    )
    assert changed.kind is Kind.CONTRADICTED and "6 → 3" in changed.reasons[0]


def section(id: str, heading: str, text: str) -> Section:
    return Section(id, ("Hypertension", heading), text)


def test_APP_3_sections_are_aligned_by_heading_and_words() -> None:
    older = [
        section("o1", "1 Targets", "The target is below 140 mmHg in adults."),
        section("o2", "2 Salt", "Salt is limited to 6 g a day."),
        section("o3", "3 Bed rest", "Patients stay in bed for two weeks."),
        section("o4", "4 Measuring", "Measure seated after five minutes of rest."),
    ]
    newer = [
        section("n1", "1 Measuring at home", "Measure seated after five minutes of quiet rest."),
        section("n2", "2 Targets", "The target is below 130 mmHg in adults."),
        section("n3", "3 Salt", "Salt is limited to 5 g a day."),
        section("n4", "4 Exercise", "Walking every day is good."),
    ]
    assert align(older, newer) == {"o1": "n2", "o2": "n3", "o3": None, "o4": "n1"}
    assert align([], newer) == {} and align(older[:1], []) == {"o1": None}


def test_APP_3_a_section_is_used_once() -> None:
    older = [Section(f"o{n}", (), "Salt is limited to 6 g a day.") for n in range(3)]
    newer = [Section("n", (), "Salt is limited to 5 g a day.")]
    assert sorted(map(str, align(older, newer).values())) == ["None", "None", "n"]
