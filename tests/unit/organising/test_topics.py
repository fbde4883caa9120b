"""Labels, halves and groups of concepts."""

from __future__ import annotations

import numpy as np

from memos_ray.core.organising.halves import halve
from memos_ray.core.organising.labels import Labeller, Sample
from memos_ray.core.organising.topics import join


def samples(*texts: str, language: str = "en") -> list[Sample]:
    return [Sample(str(number), text, language) for number, text in enumerate(texts)]


def test_OPER_1_labels_are_the_words_that_set_a_group_apart() -> None:
    music, garden = Labeller().label(
        [
            samples("Guitar lessons in town", "A guitar lesson again", "My guitars in the town"),
            samples("Tomatoes of our town", "Beans and tomatoes", "The tomato, in the town"),
        ]
    )
    assert music[0] in ("guitar", "guitars") and "lesson" in music[1]
    assert garden[0] == "tomatoes"


def test_OPER_1_labels_speak_the_language_of_the_memories() -> None:
    german, chinese = Labeller().label(
        [
            samples(
                "Der Garten braucht Wasser.",
                "Wasser für den Garten ist teuer.",
                "Im Garten fehlt das Wasser.",
                language="de",
            ),
            samples("今天练习弹吉他", "他的吉他很旧", "吉他演唱会在周末", language="zh"),
        ]
    )
    assert set(german) >= {"Garten", "Wasser"}
    assert chinese[0] == "吉他"


def test_OPER_1_a_longer_word_without_spaces_stands_for_its_parts() -> None:
    (label,) = Labeller().label(
        [samples("机器学习课程", "他研究机器学习", "机器学习很难", language="zh")]
    )
    assert label[0] == "机器学习"
    assert not {"机器", "学习", "器学习"} & set(label)


def test_OPER_1_a_label_quotes_no_other_group() -> None:
    one, other = Labeller().label([samples("red apples"), samples("blue whales")])
    assert set(one) <= {"red", "apples"} and set(other) <= {"blue", "whales"}
    assert Labeller().label([samples("the and of")]) == [()]


def test_OPER_1_two_bunches_fall_apart_and_one_does_not() -> None:
    random = np.random.default_rng(1)
    axes = np.eye(8, dtype=np.float32)
    rows = np.concatenate(
        [axes[place] + 0.05 * random.normal(size=(20, 8)).astype(np.float32) for place in (0, 1)]
    ).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1)[:, None]
    halves = halve(rows)
    assert halves is not None and halves.alike < 0.3
    other = halves.in_other(rows).tolist()
    assert len(set(other[:20])) == len(set(other[20:])) == 1
    assert other[0] != other[-1]
    assert halve(np.repeat(axes[:1], 5, axis=0)) is None


def test_OPER_1_near_concepts_share_a_topic() -> None:
    axes = np.eye(6)
    means = [axes[0], axes[0] + 0.1 * axes[1], axes[3], axes[3] + 0.1 * axes[4], axes[5]]
    sizes = np.array([3, 4, 5, 2, 6])
    made = join(np.stack(means) * sizes[:, None], sizes, 3)
    assert sorted(map(sorted, made)) == [[0, 1], [2, 3], [4]]
