"""The small world that the recall model knows: people, and six things to know about each of them.

All text here is plain English. The tokenizer takes its words from this module, so that a word more
or less here means another model.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from hashlib import blake2b

UNKNOWN = "unknown"
"""What the model answers when the fact is not in its context."""

NOTED = "ok"
"""What the model answers to a message that asks nothing."""


@dataclass(frozen=True, slots=True)
class Relation:
    """One thing to know about a person.

    In the templates `{name}` and `{value}` are filled in, `{a_value}` with an article before it.
    """

    name: str
    values: tuple[str, ...]
    statements: tuple[str, ...]
    questions: tuple[str, ...]


class Split(StrEnum):
    """Whether a fact may occur in training, or is kept for tests."""

    TRAINING = "training"
    HELD_OUT = "held_out"


RELATIONS: dict[str, Relation] = {
    relation.name: relation
    for relation in (
        Relation(
            "colour",
            (
                *("teal", "red", "blue", "green", "amber", "violet", "crimson", "ivory", "maroon"),
                *("navy", "coral", "pink", "gold", "silver", "black", "white", "grey", "brown"),
                *("indigo", "scarlet", "lilac", "beige", "khaki", "magenta", "turquoise"),
                *("purple", "orange", "yellow", "lavender", "bronze"),
            ),
            (
                "{name}'s favourite colour is {value}.",
                "The favourite colour of {name} is {value}.",
                "{name} likes the colour {value} best.",
                "{value} is the colour that {name} loves most.",
                "If you ask {name} for a colour, it is {value}.",
                "{name} prefers {value} to any other colour.",
            ),
            (
                "What is {name}'s favourite colour?",
                "What is the favourite colour of {name}?",
                "Which colour does {name} like best?",
                "What colour does {name} love most?",
                "Which colour does {name} prefer?",
                "Tell me {name}'s favourite colour.",
            ),
        ),
        Relation(
            "city",
            (
                *("Paris", "Oslo", "Lima", "Cairo", "Delhi", "Tokyo", "Rome", "Berlin", "Madrid"),
                *("Quito", "Hanoi", "Dakar", "Accra", "Milan", "Porto", "Ghent", "Kyoto", "Osaka"),
                *("Perth", "Leeds", "Turin", "Basel", "Nairobi", "Havana", "Riga", "Minsk"),
                *("Tunis", "Prague", "Vienna", "Lisbon"),
            ),
            (
                "{name} lives in {value}.",
                "{name}'s home is in {value}.",
                "The home of {name} is in {value}.",
                "{value} is where {name} lives.",
                "{name} moved to {value}.",
                "The city that {name} lives in is {value}.",
            ),
            (
                "Where does {name} live?",
                "In which city does {name} live?",
                "Which city does {name} live in?",
                "Where is {name}'s home?",
                "What is the home city of {name}?",
                "Tell me where {name} lives.",
            ),
        ),
        Relation(
            "job",
            (
                *("baker", "nurse", "pilot", "farmer", "lawyer", "doctor", "singer", "painter"),
                *("tailor", "miner", "welder", "judge", "clerk", "chemist", "teacher", "plumber"),
                *("butcher", "florist", "gardener", "barber", "sailor", "actor", "poet", "editor"),
                *("waiter", "banker", "dentist", "librarian", "engineer", "carpenter"),
            ),
            (
                "{name} works as {a_value}.",
                "{name} is {a_value} by trade.",
                "{name}'s job is that of {a_value}.",
                "The job of {name} is {value}.",
                "{a_value} is what {name} became.",
                "{name} earns money as {a_value}.",
            ),
            (
                "What is {name}'s job?",
                "What is the job of {name}?",
                "What does {name} work as?",
                "Which trade does {name} have?",
                "How does {name} earn money?",
                "Tell me {name}'s job.",
            ),
        ),
        Relation(
            "pet",
            (
                *("cat", "dog", "parrot", "hamster", "rabbit", "turtle", "snake", "gecko"),
                *("ferret", "goat", "pony", "canary", "goldfish", "lizard", "mouse", "rat"),
                *("spider", "frog", "newt", "duck", "goose", "hen", "donkey", "llama", "crab"),
                *("toad", "pigeon", "finch", "otter", "hedgehog"),
            ),
            (
                "{name} has {a_value} as a pet.",
                "{name}'s pet is {a_value}.",
                "The pet of {name} is {a_value}.",
                "{a_value} lives with {name}.",
                "{name} keeps {a_value} at home.",
                "{name} takes care of {a_value}.",
            ),
            (
                "What is {name}'s pet?",
                "Which pet does {name} have?",
                "What pet does {name} have?",
                "What animal does {name} keep at home?",
                "Which animal lives with {name}?",
                "Tell me which pet {name} has.",
            ),
        ),
        Relation(
            "food",
            (
                *("pasta", "rice", "soup", "bread", "cheese", "pizza", "curry", "salad", "noodles"),
                *("beans", "lentils", "steak", "sushi", "tofu", "ramen", "stew", "pancakes"),
                *("waffles", "porridge", "omelette", "dumplings", "tacos", "falafel", "hummus"),
                *("kebab", "pickles", "olives", "figs", "plums", "lasagne"),
            ),
            (
                "{name}'s favourite food is {value}.",
                "The favourite food of {name} is {value}.",
                "{name} loves to eat {value}.",
                "{value} is the dish that {name} always orders.",
                "For dinner {name} always wants {value}.",
                "{name} never says no to {value}.",
            ),
            (
                "What is {name}'s favourite food?",
                "What is the favourite food of {name}?",
                "What does {name} love to eat?",
                "Which dish does {name} always order?",
                "What does {name} want for dinner?",
                "Tell me {name}'s favourite food.",
            ),
        ),
        Relation(
            "instrument",
            (
                *("piano", "violin", "cello", "flute", "drums", "guitar", "harp", "oboe"),
                *("trumpet", "tuba", "banjo", "organ", "bassoon", "clarinet", "lute", "sitar"),
                *("ukulele", "viola", "trombone", "accordion", "mandolin", "fiddle", "zither"),
                *("recorder", "bugle", "cornet", "bongos", "lyre", "kazoo", "saxophone"),
            ),
            (
                "{name} plays the {value}.",
                "{name}'s instrument is the {value}.",
                "The instrument of {name} is the {value}.",
                "The {value} is played by {name}.",
                "{name} practises the {value} every day.",
                "On stage {name} performs with the {value}.",
            ),
            (
                "What does {name} play?",
                "Which instrument does {name} play?",
                "What is {name}'s instrument?",
                "Which instrument does {name} practise every day?",
                "What does {name} perform with on stage?",
                "Tell me which instrument {name} plays.",
            ),
        ),
    )
}

DISTRACTORS: tuple[str, ...] = (
    "{name} walked to the market.",
    "{name} slept well last night.",
    "It rained for most of the day.",
    "{name} met {other} near the river.",
    "The shop was closed on Monday.",
    "{name} wrote a letter to {other}.",
    "The train was late again.",
    "{name} is a friend of {other}.",
    "{name} and {other} talked about the weather.",
    "Nobody saw {name} yesterday.",
    "{name} will call {other} tomorrow.",
    "{other} asked {name} for help.",
)
"""Sentences that state none of the relations."""

COMMON_WORDS: tuple[str, ...] = (
    *("i", "you", "he", "she", "we", "they", "my", "your", "his", "her", "this", "there", "here"),
    *("are", "was", "were", "be", "have", "had", "can", "do", "did", "not", "yes", "but", "or"),
    *("so", "as", "at", "by", "with", "from", "up", "who", "when", "why", "please", "hello", "hi"),
    *("thanks", "memory", "memories", "remember", "known", "facts", "relevant", "user"),
    *("assistant", "answer", "question", "context", "following", "use", "new", "now", "since"),
)
"""Words of ordinary prompts that the templates lack."""

_FIRST_NAMES: tuple[str, ...] = (
    *("Alice", "Ann", "Anna", "Ben", "Bob", "Brux", "Carol", "Caroline", "Carlos", "Chen", "Clara"),
    *("David", "Diana", "Elena", "Emma", "Erik", "Eve", "Fatima", "Felix", "Hannah", "Hugo"),
    *("Ines", "Ivan", "James", "Jane", "John", "Julia", "Kenji", "Kezan", "Laura", "Leo", "Lucas"),
    *("Maria", "Marta", "Maya", "Melanie", "Mia", "Nadia", "Nina", "Noah", "Omar", "Oscar"),
    *("Paul", "Peter", "Priya", "Rosa", "Sam", "Sara", "Sofia", "Tom", "Vera", "Yuki"),
)
_INVENTED_NAMES = 430
_ONSETS = tuple("b d f g h j k l m n p r s t v z br dr gr kr tr".split())
_VOWELS = tuple("a e i o u ai ia".split())
_CODAS = tuple("n r l s m x th".split())
_HELD_OUT_ONE_IN = 5


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact: a person, a relation and its value, as text has them (`Kezan`, `city`, `Lima`)."""

    name: str
    relation: str
    value: str

    @property
    def text(self) -> str:
        """The fact as a sentence, in its plainest form."""
        return self.statements()[0]

    @property
    def question(self) -> str:
        """A question for the value, in its plainest form."""
        return self.questions()[0]

    @property
    def answer(self) -> str:
        """What the model answers when it knows the fact: the value as its tokenizer writes it."""
        return self.value.lower()

    @property
    def split(self) -> Split:
        """Where it belongs: of the values of a person's relation, one in five is held out."""
        start = blake2b(f"{self.name}/{self.relation}".encode(), digest_size=4).digest()[0]
        place = start + RELATIONS[self.relation].values.index(self.value)
        return Split.TRAINING if place % _HELD_OUT_ONE_IN else Split.HELD_OUT

    def statements(self) -> tuple[str, ...]:
        """Returns every sentence that states the fact."""
        article = "an" if self.value[0] in "aeio" else "a"
        return tuple(
            _sentence(
                template.format(name=self.name, value=self.value, a_value=f"{article} {self.value}")
            )
            for template in RELATIONS[self.relation].statements
        )

    def questions(self) -> tuple[str, ...]:
        """Returns every question for the value."""
        return questions(self.name, self.relation)


def questions(name: str, relation: str) -> tuple[str, ...]:
    """Returns every question for a person's value of a relation, be it known or not."""
    return tuple(template.format(name=name) for template in RELATIONS[relation].questions)


def distractor(rng: random.Random, names: Sequence[str]) -> str:
    """Returns a sentence about some of these people that states no fact."""
    return rng.choice(DISTRACTORS).format(name=rng.choice(names), other=rng.choice(names))


def draw_facts(
    rng: random.Random,
    count: int,
    split: Split = Split.HELD_OUT,
    *,
    relations: Sequence[str] = tuple(RELATIONS),
    people: Sequence[str] | None = None,
) -> list[Fact]:
    """Draws facts no two of which are about the same name and relation.

    Args:
        rng: the only source of chance.
        count: how many.
        split: which facts; tests take those that no training has seen.
        relations: what they may be about.
        people: whom they may be about; everybody when left out.

    Raises:
        ValueError: there are fewer than `count` pairs of a person and a relation.
    """
    everybody = names() if people is None else people
    if count > len(everybody) * len(relations):
        raise ValueError(f"{count} facts do not fit {len(everybody)} names")
    pairs: set[tuple[str, str]] = set()
    facts: list[Fact] = []
    while len(facts) < count:
        pair = rng.choice(everybody), rng.choice(relations)
        if pair not in pairs:
            pairs.add(pair)
            facts.append(draw_value(rng, *pair, split))
    return facts


def draw_value(rng: random.Random, name: str, relation: str, split: Split) -> Fact:
    """Draws a value that makes a fact of this split."""
    return Fact(name, relation, rng.choice(_values(name, relation, split)))


@cache
def _values(name: str, relation: str, split: Split) -> tuple[str, ...]:
    values = RELATIONS[relation].values
    return tuple(value for value in values if Fact(name, relation, value).split is split)


@cache
def names() -> tuple[str, ...]:
    """Returns everybody's name: some real ones, and many that nobody has."""
    rng = random.Random(7)
    taken = set(template_words()) | {name.lower() for name in _FIRST_NAMES}
    found = list(_FIRST_NAMES)
    while len(found) < len(_FIRST_NAMES) + _INVENTED_NAMES:
        name = "".join(rng.choice(part) for part in (_ONSETS, _VOWELS, _ONSETS, _VOWELS))
        if rng.random() < 0.5:
            name += rng.choice(_CODAS)
        if name not in taken:
            taken.add(name)
            found.append(name.capitalize())
    return tuple(found)


@cache
def template_words() -> tuple[str, ...]:
    """Returns every word of the world but the names, lower case, each once, in a fixed order."""
    templates = [*DISTRACTORS]
    words = [UNKNOWN, NOTED, "a", "an", *COMMON_WORDS]
    for relation in RELATIONS.values():
        templates += [*relation.statements, *relation.questions]
        words += [value.lower() for value in relation.values]
    for template in templates:
        words += re.findall(r"\w+", re.sub(r"{\w+}", " ", template).lower())
    return tuple(dict.fromkeys(words))


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
