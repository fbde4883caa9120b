"""English phrasings of what people have remembered."""

from __future__ import annotations

from memos_ray.core.cube.metadata import SemanticType
from memos_ray.core.teaching.phrasing import Phrasing, PhrasingSet

_FACT, _PREFERENCE, _EVENT = SemanticType.FACT, SemanticType.PREFERENCE, SemanticType.EVENT
_EPISODE, _PROCEDURE, _SKILL = (
    SemanticType.EPISODE,
    SemanticType.PROCEDURE,
    SemanticType.SKILL,
)
_TASK, _DOCUMENT = SemanticType.TASK_PROMPT, SemanticType.DOCUMENT

ENGLISH = PhrasingSet(
    language="en",
    phrasings=(
        Phrasing(
            "home",
            (
                "{subject} lives in {value}.",
                "{subject}'s home is in {value}.",
                "{subject} has moved to {value}.",
                "{subject} moved to {value}.",
            ),
            (
                "Where does {subject} live?",
                "In which place does {subject} live?",
                "Where is {subject}'s home?",
                "Which place is home to {subject}?",
                "Tell me where {subject} lives.",
            ),
            types=(_FACT, _EPISODE),
            values=("Lisbon", "a village near Turin", "Oslo", "Kyoto", "the old town", "Leeds"),
        ),
        Phrasing(
            "work",
            (
                "{subject} works as {a_value}.",
                "{subject}'s job is {value}.",
                "{subject} earns a living as {a_value}.",
            ),
            (
                "What does {subject} work as?",
                "What is {subject}'s job?",
                "How does {subject} earn a living?",
                "Which job does {subject} have?",
                "Tell me what {subject} does for a living.",
            ),
            types=(_FACT, _EPISODE),
            values=("nurse", "teacher", "pilot", "gardener", "tax adviser", "bus driver"),
        ),
        Phrasing(
            "employer",
            ("{subject} works at {value}.", "{subject} works for {value}."),
            (
                "Where does {subject} work?",
                "Who does {subject} work for?",
                "Who employs {subject}?",
                "Tell me where {subject} works.",
            ),
            types=(_FACT, _EPISODE),
            values=("the post office", "a small bakery", "the harbour", "a bank"),
        ),
        Phrasing(
            "favourite",
            (
                "{subject}'s favourite {attribute} is {value}.",
                "{subject}'s favorite {attribute} is {value}.",
                "The favourite {attribute} of {subject} is {value}.",
            ),
            (
                "What is {subject}'s favourite {attribute}?",
                "Which {attribute} does {subject} like best?",
                "Which {attribute} would {subject} choose?",
                "Tell me {subject}'s favourite {attribute}.",
            ),
            types=(_FACT, _PREFERENCE, _EPISODE),
            values=("blue", "the quiet one", "plum", "number seven", "the oldest"),
        ),
        Phrasing(
            "dislike",
            (
                "{subject} does not like {value}.",
                "{subject} doesn't like {value}.",
                "{subject} dislikes {value}.",
                "{subject} hates {value}.",
            ),
            (
                "What does {subject} dislike?",
                "What does {subject} not like?",
                "What should one spare {subject}?",
                "Tell me what {subject} dislikes.",
            ),
            types=(_FACT, _PREFERENCE, _EPISODE),
            values=("loud music", "long meetings", "coriander", "early flights"),
        ),
        Phrasing(
            "like",
            (
                "{subject} likes {value}.",
                "{subject} loves {value}.",
                "{subject} prefers {value}.",
                "{subject} enjoys {value}.",
            ),
            (
                "What does {subject} like?",
                "What does {subject} prefer?",
                "What would please {subject}?",
                "Tell me what {subject} likes.",
            ),
            types=(_FACT, _PREFERENCE, _EPISODE),
            values=("green tea", "window seats", "short answers", "old films"),
        ),
        Phrasing(
            "allergy",
            ("{subject} is allergic to {value}.", "{subject} has an allergy to {value}."),
            (
                "What is {subject} allergic to?",
                "Which allergy does {subject} have?",
                "What must {subject} not come near?",
                "Tell me what {subject} is allergic to.",
            ),
            types=(_FACT, _PREFERENCE),
            values=("peanuts", "pollen", "penicillin", "wool"),
        ),
        Phrasing(
            "instruction",
            (
                "To {subject}, {value}.",
                "How to {subject}: {value}.",
                "In order to {subject}, {value}.",
            ),
            (
                "How do I {subject}?",
                "What has to be done to {subject}?",
                "Which steps does it take to {subject}?",
                "Tell me how to {subject}.",
            ),
            types=(_PROCEDURE, _SKILL, _TASK, _DOCUMENT),
            values=("press both buttons", "ask the office first", "wait for the green light"),
        ),
        Phrasing(
            "happened",
            ("On {subject}, {value}.", "On {subject}: {value}."),
            (
                "What happened on {subject}?",
                "What was there on {subject}?",
                "What took place on {subject}?",
                "Tell me about {subject}.",
            ),
            types=(_EVENT, _EPISODE),
            values=("the team met", "the roof was mended", "nobody came"),
        ),
        Phrasing(
            "property",
            (
                "{subject}'s {attribute} is {value}.",
                "The {attribute} of {subject} is {value}.",
                "{subject} has {value} as {attribute}.",
            ),
            (
                "What is {subject}'s {attribute}?",
                "What is the {attribute} of {subject}?",
                "Which {attribute} does {subject} have?",
                "Tell me {subject}'s {attribute}.",
            ),
            values=("four", "made of wood", "unlisted", "on the left"),
        ),
    ),
    subjects=(
        *("Alma", "Bela", "Cora", "Dario", "Edda", "Falk", "Greta", "Hanno", "Ilse", "Jonas"),
        *("Karin", "Levi", "Mona", "Nils", "Olga", "Pavel", "Ruben", "Silke", "Tara", "Viktor"),
    ),
    completions={
        _FACT: (
            "What do you know that begins with: {beginning}",
            "Complete what you know: {beginning}",
            "How does this go on? {beginning}",
        ),
        _PREFERENCE: (
            "Which preference begins with: {beginning}",
            "Complete this preference: {beginning}",
            "How does this wish go on? {beginning}",
        ),
        _EPISODE: (
            "What was said that begins with: {beginning}",
            "Complete what was said: {beginning}",
            "How did this go on? {beginning}",
        ),
        _EVENT: (
            "Which event begins with: {beginning}",
            "Complete this event: {beginning}",
            "How did this event go on? {beginning}",
        ),
        _TASK: (
            "Which task begins with: {beginning}",
            "Complete this task: {beginning}",
            "How does this task go on? {beginning}",
        ),
        _PROCEDURE: (
            "Which procedure begins with: {beginning}",
            "Complete this procedure: {beginning}",
            "How does this procedure go on? {beginning}",
        ),
        _DOCUMENT: (
            "Which passage begins with: {beginning}",
            "Complete this passage: {beginning}",
            "How does this passage go on? {beginning}",
        ),
        _SKILL: (
            "Which skill begins with: {beginning}",
            "Complete this skill: {beginning}",
            "How does this skill go on? {beginning}",
        ),
    },
)
