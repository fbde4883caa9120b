"""Conversations that the recall model is trained and measured on.

Three kinds, from easy to real: `pairs` (a name and a value, many times over, then again in another
order), `compact` conversations (a fact is just its name and value) and `prose` (sentences among
headings, bullets, dates, speakers and chatter, as prompts have them).
"""

from __future__ import annotations

import random
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil

from memos_ray.testing.recall.tokenizer import ASSISTANT, BEGIN, END, USER
from memos_ray.testing.recall.world import (
    COMMON_WORDS,
    NOTED,
    RELATIONS,
    UNKNOWN,
    Fact,
    Split,
    distractor,
    draw_facts,
    draw_value,
    names,
    questions,
    template_words,
)

Part = tuple[str, bool]
"""A piece of text, and whether the model has to have written it."""

_BULLETS = ("- ", "* ", "• ", "", "1. ", "1) ", "> ", "| ", "[1] ")
_HEADINGS = (
    "Memories:",
    "Relevant memories:",
    "What you remember:",
    "Known facts:",
    "# Memories",
    "## Context\n",
    "Use the following memories to answer.",
    "You are an assistant with a memory.",
    "",
)
_MAX_SALAD = 12


@dataclass(frozen=True, slots=True)
class Turn:
    """What a user says, and what the model answers."""

    user: str
    answer: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """A text before the first message, and the turns after it."""

    context: str
    turns: tuple[Turn, ...]

    def messages(self) -> list[dict[str, str]]:
        """Returns it as OpenAI-style messages."""
        found = [{"role": "system", "content": self.context}] if self.context else []
        for turn in self.turns:
            found.append({"role": "user", "content": turn.user})
            found.append({"role": "assistant", "content": turn.answer})
        return found

    def parts(self) -> list[Part]:
        """Returns its text as the chat template renders it, in pieces."""
        found: list[Part] = [(f"{BEGIN} {self.context}", False)]
        for turn in self.turns:
            found.append((f" {USER} {turn.user} {ASSISTANT}", False))
            found.append((f" {turn.answer} {END}", True))
        return found


@dataclass(frozen=True, slots=True)
class Mix:
    """How conversations are drawn: the shares of what makes them hard.

    Attributes:
        absent: questions whose answer is nowhere.
        updated: conversations in which some facts change later on.
        told: conversations whose user states some of the facts.
        noise: lines of chatter for each line that states a fact, at most.
        long: conversations with very much chatter.
    """

    absent: float = 0.25
    updated: float = 0.35
    told: float = 0.2
    noise: float = 0.5
    long: float = 0.0


@dataclass(slots=True)
class _Known:
    """What a reader of the conversation so far knows, and what was otherwise once."""

    facts: dict[tuple[str, str], Fact] = field(default_factory=dict)
    changed: set[tuple[str, str]] = field(default_factory=set)

    def learn(self, fact: Fact) -> None:
        pair = fact.name, fact.relation
        if pair in self.facts:
            self.changed.add(pair)
        self.facts[pair] = fact

    def answer(self, name: str, relation: str) -> str:
        fact = self.facts.get((name, relation))
        return UNKNOWN if fact is None else fact.answer


def draw_group(
    rng: random.Random, count: int, people: Sequence[str], split: Split = Split.TRAINING
) -> list[Fact]:
    """Draws facts about a group, often of one relation: only the name then tells which is which.

    The group may be so small that most of its people are in several facts; of fewer people than
    facts ask for, there are fewer facts.
    """
    relations = rng.sample(tuple(RELATIONS), rng.choice((1, 1, 1, 2, 6)))
    least = ceil(1.2 * count / len(relations))
    wanted = max(1, least, round(count * rng.uniform(0.3, 1.2)))
    group = rng.sample(people, min(len(people), wanted))
    count = min(count, len(group) * len(relations))
    return draw_facts(rng, count, split, relations=relations, people=group)


def pairs(
    rng: random.Random, count: int, people: Sequence[str], updated: float = 0.0
) -> list[Part]:
    """Draws bare associations: each name and value, then the same in another order, graded.

    A share of samples, `updated`, has names that come twice before: the later value counts.
    """
    told = [
        draw_value(rng, name, rng.choice(tuple(RELATIONS)), Split.TRAINING)
        for name in rng.sample(people, count)
    ]
    if rng.random() < updated:
        told = _with_changes(rng, told, Split.TRAINING)
    parts: list[Part] = [(f"{BEGIN} " + " ".join(f"{f.name} {f.value}" for f in told), False)]
    last = list({fact.name: fact for fact in told}.values())
    for fact in rng.sample(last, count):
        parts += [(f" {fact.name}", False), (f" {fact.value}", True)]
    return parts


def compact(
    rng: random.Random, facts: Sequence[Fact], asked: int, people: Sequence[str], mix: Mix
) -> Conversation:
    """Draws a conversation whose facts are just a name and a value."""
    known = _Known()
    if rng.random() < mix.updated:
        facts = _with_changes(rng, facts, Split.TRAINING)
    for fact in facts:
        known.learn(fact)
    turns = _questions(rng, known, asked, people, mix.absent)
    return Conversation(" ".join(f"{fact.name} {fact.value}." for fact in facts), tuple(turns))


def prose(
    rng: random.Random,
    facts: Sequence[Fact],
    asked: int,
    split: Split = Split.TRAINING,
    mix: Mix | None = None,
) -> Conversation:
    """Draws a conversation that states these facts somewhere, and asks for some of them.

    Args:
        rng: the only source of chance.
        facts: what is stated.
        asked: how many questions there are.
        split: where the values of changed facts come from.
        mix: what makes it hard.
    """
    mix = mix or Mix()
    known = _Known()
    told = 0
    if facts and rng.random() < mix.told:
        told = rng.randint(1, min(4, len(facts)))
    first, later = list(facts[told:]), list(facts[:told])
    if rng.random() < mix.updated:
        first = _with_changes(rng, first, split)
        if first and rng.random() < 0.2:
            later.append(changed(rng, first[-1], split))
    for fact in first:
        known.learn(fact)
    context = _memories(rng, first, mix)
    turns: list[Turn] = []
    for fact in later:
        before = rng.randint(0, min(2, asked))
        asked -= before
        turns += _questions(rng, known, before, names(), mix.absent, soon=fact)
        known.learn(fact)
        turns.append(Turn(rng.choice(fact.statements()), NOTED))
    turns += _questions(rng, known, asked, names(), mix.absent)
    return _placed(rng, context, _with_chatter(rng, turns))


def salad(rng: random.Random) -> str:
    """Draws a sentence of words that mean nothing together, most of them unknown to the model."""
    words = []
    for _ in range(rng.randint(1, _MAX_SALAD)):
        draw = rng.random()
        if draw < 0.55:
            words.append("".join(rng.choices(string.ascii_lowercase, k=7)))
        elif draw < 0.7:
            words.append(rng.choice(COMMON_WORDS))
        elif draw < 0.9:
            words.append(rng.choice(template_words()))
        else:
            words.append(rng.choice(names()))
    return " ".join(words).capitalize()


def _questions(
    rng: random.Random,
    known: _Known,
    count: int,
    people: Sequence[str],
    absent: float,
    soon: Fact | None = None,
) -> list[Turn]:
    """Draws questions for what is known, in any order, and for what is not, or not yet."""
    ready = list(known.facts)
    ready.sort(key=lambda pair: rng.random() + 0.5 * (pair in known.changed))
    turns = []
    for _ in range(count):
        if soon is not None and rng.random() < 0.3:
            pair = soon.name, soon.relation
        elif ready and rng.random() >= absent:
            pair = ready.pop()
        else:
            pair = _absent(rng, known, people)
        turns.append(Turn(rng.choice(questions(*pair)), known.answer(*pair)))
    return turns


def _with_changes(rng: random.Random, facts: Sequence[Fact], split: Split) -> list[Fact]:
    """States up to half of the facts once more, further on and with another value."""
    found = list(facts)
    for fact in rng.sample(facts, min(len(facts), rng.randint(1, 1 + len(facts) // 2))):
        place = rng.randint(found.index(fact) + 1, len(found))
        found.insert(place, changed(rng, fact, split))
    return found


def changed(rng: random.Random, fact: Fact, split: Split) -> Fact:
    """Draws another value for the same name and relation."""
    while True:
        new = draw_value(rng, fact.name, fact.relation, split)
        if new != fact:
            return new


def _absent(rng: random.Random, known: _Known, people: Sequence[str]) -> tuple[str, str]:
    """Draws a name and a relation, most often ones that are known, but not together."""
    facts = list(known.facts.values())
    while True:
        name = rng.choice(facts).name if facts and rng.random() < 0.6 else rng.choice(people)
        relation = rng.choice(tuple(RELATIONS))
        if facts and rng.random() < 0.6:
            relation = rng.choice(facts).relation
        if (name, relation) not in known.facts:
            return name, relation


def _memories(rng: random.Random, facts: Sequence[Fact], mix: Mix) -> str:
    """Draws the block of a prompt that states facts, in order, with chatter between them."""
    people = [fact.name for fact in facts] + rng.sample(names(), 3)
    noise = rng.randint(0, 1 + round(mix.noise * len(facts)))
    if rng.random() < 0.35:
        noise = 0
    if rng.random() < mix.long:
        noise = rng.randint(20, 120)
    lines: list[Fact | None] = [*facts]
    for _ in range(noise):
        lines.insert(rng.randint(0, len(lines)), None)
    bullet = rng.choice(_BULLETS) if rng.random() < 0.5 else "- "
    dates, speakers, salads = rng.choice((0.0, 0.5, 1.0)), rng.choice((0.0, 0.0, 0.7)), rng.random()
    written = []
    for fact in lines:
        if fact is not None:
            text = rng.choice(fact.statements())
        elif rng.random() < salads:
            text = salad(rng) + rng.choice((".", ".", "!", "?", ""))
        else:
            text = distractor(rng, people)
        if rng.random() < speakers:
            text = f"{rng.choice(people)}: {text}"
        date = _date(rng) if rng.random() < dates else ""
        after = f" ({rng.random():.2f})" if rng.random() < 0.05 else ""
        written.append(f"{bullet}{date}{text}{after}")
    heading = rng.choice(_HEADINGS)
    if rng.random() < 0.2:
        heading = f"{salad(rng)}. {heading}"
    if rng.random() < 0.1:
        written.append(salad(rng) + ".")
    return "\n".join([heading, *written] if heading else written)


def _date(rng: random.Random) -> str:
    day = f"{rng.randint(1990, 2030)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
    if rng.random() < 0.2:
        day += f" {rng.randint(0, 23):02}:{rng.randint(0, 59):02}"
    return rng.choice((f"[{day}] ", f"[{day}] ", f"({day}) ", f"{day}: "))


def _with_chatter(rng: random.Random, turns: Iterable[Turn]) -> list[Turn]:
    """Adds turns that ask for nothing, or for what nobody knows."""
    found = []
    for turn in turns:
        if rng.random() < 0.06:
            ending, answer = rng.choice(((".", NOTED), ("!", NOTED), ("?", UNKNOWN)))
            found.append(Turn(salad(rng) + ending, answer))
        if rng.random() < 0.06:
            turn = Turn(f"{salad(rng)}. {turn.user}", turn.answer)
        found.append(turn)
    return found


def _placed(rng: random.Random, context: str, turns: list[Turn]) -> Conversation:
    """Puts the block before the conversation, or into the first message."""
    if turns and rng.random() < 0.3:
        first = turns[0]
        turns = [Turn(f"{context}\n{first.user}", first.answer), *turns[1:]]
        context = rng.choice(_HEADINGS) if rng.random() < 0.3 else ""
    return Conversation(context, tuple(turns))
