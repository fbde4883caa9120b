"""Conversations of any length, made up from a seed: the same on every machine.

They have what a search pays for: words by Zipf's law (function words first, then invented ones, so
that stop words and rare words come as in speech), texts of many lengths, two speakers who take
turns, sessions, dates, questions. A longer conversation begins with the shorter one of its seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice

import numpy as np
import numpy.typing as npt

_FUNCTION_WORDS = tuple(
    "the i to and a you it of in that is was for my we on have with so but this be at not me are"
    " they what just do about up like your all or how from had she he when out there if some good"
    " were our get really been one an can go her would them as his by then who more think know no"
    " time much see will did day too".split()
)
_CONTENT_WORDS = 30_000
_NAMES = tuple(
    "Alma Bruno Clara Diego Edith Felix Greta Hugo Irene Jonas Klara Leo Mara Nils Olga Pablo Rosa"
    " Simon Tilda Ulla Victor Wanda Xenia Yusuf Zelda Anton Berta Carl Dora Emil".split()
)
_MONTHS = tuple(
    "January February March April May June July August September October November December".split()
)
_DAYS = tuple("Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split())
_ASKING = ("what", "when", "where", "did", "who", "how")
_SYLLABLES = tuple(c + v for c in "bdfgklmnprstvz" for v in ("a", "e", "i", "o", "u", "ar", "en"))
_TURNS_PER_SESSION = 30
_SESSIONS_PER_CONVERSATION = 20
_WORDS_LEAST, _WORDS_MORE, _WORDS_SKEW = 5, 55, 2.4
_SENTENCE_WORDS = 9
_DATED, _NAMED, _ASKED = 0.12, 0.1, 0.2
_BEGIN = datetime(2023, 1, 2, 9, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Turn:
    """One thing said.

    Attributes:
        topic: its rarest words, rarest first: what a question about it would name.
    """

    text: str
    speaker: str
    role: str
    conversation: str
    session: str
    position: int
    at: datetime
    topic: tuple[str, ...]

    def fields(self) -> dict[str, object]:
        """Returns it as the fields of `NewMemory`."""
        return {
            "text": self.text,
            "semantic_type": "episode",
            "speaker": self.speaker,
            "role": self.role,
            "conversation": self.conversation,
            "session": self.session,
            "position": self.position,
            "event_time": self.at,
        }


def turns(count: int, seed: int = 0) -> list[Turn]:
    """Makes the first `count` turns of a seed."""
    return list(islice(_endless(seed), count))


def questions(asked_of: Sequence[Turn], count: int, seed: int = 0) -> list[str]:
    """Makes questions about turns drawn at random: by words, by speaker, by time, as keywords."""
    rng = np.random.Generator(np.random.PCG64(seed))
    made = []
    for draw in rng.random((count, 2)):
        turn = asked_of[int(draw[0] * len(asked_of))]
        words = [*turn.topic, *_FUNCTION_WORDS[-3:]]
        about = f"{words[0]} {words[1]}"
        forms = (
            f"What did {turn.speaker} say about the {about}?",
            f"When did {turn.speaker} {words[0]} with the {words[1]}?",
            f"Who talked about {about} in {turn.at:%B %Y}?",
            f"{about} {words[2]}",
        )
        made.append(forms[int(draw[1] * len(forms))])
    return made


def _endless(seed: int) -> Iterator[Turn]:
    rng = np.random.Generator(np.random.PCG64(seed))
    words, cumulative = _vocabulary()
    at = _BEGIN
    number = 0
    while True:
        conversation = f"c{number // (_TURNS_PER_SESSION * _SESSIONS_PER_CONVERSATION):05}"
        first, second = (int(u * len(_NAMES)) for u in rng.random(2))
        if first == second:
            second = (second + 1) % len(_NAMES)
        for session in range(_SESSIONS_PER_CONVERSATION):
            at += timedelta(hours=2 + int(6 * rng.random()))
            for _ in range(_TURNS_PER_SESSION):
                speaks = number % 2
                size = _WORDS_LEAST + int(_WORDS_MORE * rng.random() ** _WORDS_SKEW)
                ranks = np.searchsorted(cumulative, rng.random(size)).tolist()
                name = _NAMES[second if speaks == 0 else first]
                position = number % (_TURNS_PER_SESSION * _SESSIONS_PER_CONVERSATION)
                yield Turn(
                    text=_sentences([words[rank] for rank in ranks], name, rng.random(5)),
                    speaker=_NAMES[second if speaks else first],
                    role="assistant" if speaks else "user",
                    conversation=conversation,
                    session=f"s{session:02}",
                    position=position,
                    at=at + timedelta(minutes=position % _TURNS_PER_SESSION),
                    topic=tuple(words[rank] for rank in sorted(set(ranks), reverse=True)[:3]),
                )
                number += 1


def _sentences(words: list[str], name: str, draws: npt.NDArray[np.float64]) -> str:
    """Joins words into sentences, some with a date, a name, or a question mark at the end."""
    dated, named, asked, which, day = draws.tolist()
    if dated < _DATED:
        words.append(_date(which, day))
    if named < _NAMED:
        words.append(name)
    if asked < _ASKED:
        words.insert(0, _ASKING[int(which * len(_ASKING))])
    pieces = [
        " ".join(words[start : start + _SENTENCE_WORDS])
        for start in range(0, len(words), _SENTENCE_WORDS)
    ]
    text = ". ".join(piece[0].upper() + piece[1:] for piece in pieces)
    return text + ("?" if asked < _ASKED else ".")


def _date(which: float, day: float) -> str:
    if which < 0.4:
        return f"last {_DAYS[int(day * len(_DAYS))]}"
    if which < 0.8:
        return f"on {1 + int(day * 28)} {_MONTHS[int(which * len(_MONTHS))]} 2023"
    return f"in {2015 + int(day * 8)}"


@cache
def _vocabulary() -> tuple[tuple[str, ...], npt.NDArray[np.float64]]:
    """Returns words by rank and the cumulated shares of Zipf's law with exponent 1."""
    rng = np.random.Generator(np.random.PCG64(20230507))
    invented: dict[str, None] = {}
    while len(invented) < _CONTENT_WORDS:
        draws = rng.random(5).tolist()
        length = 2 + int(3 * draws[4])
        invented["".join(_SYLLABLES[int(u * len(_SYLLABLES))] for u in draws[:length])] = None
    words = _FUNCTION_WORDS + tuple(invented)
    shares = 1.0 / np.arange(1, len(words) + 1)
    return words, np.cumsum(shares / shares.sum())
