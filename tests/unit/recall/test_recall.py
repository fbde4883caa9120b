"""The shipped model: it knows what is in its context, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from memos_ray.testing.recall import tiny_recall_path  # noqa: E402
from memos_ray.testing.recall.dataset import Conversation, Turn, draw_group, pairs, prose  # noqa: E402
from memos_ray.testing.recall.evaluation import (  # noqa: E402
    Recaller,
    absent_cases,
    recall_cases,
    told_cases,
    updated_cases,
    without_context,
)
from memos_ray.testing.recall.tokenizer import build_tokenizer, vocabulary  # noqa: E402
from memos_ray.testing.recall.world import (  # noqa: E402
    NOTED,
    RELATIONS,
    UNKNOWN,
    Fact,
    Split,
    draw_facts,
    names,
    template_words,
)

_SEED = 2026
_MOST_BYTES = 10_000_000


@pytest.fixture(scope="module")
def recaller() -> Iterator[Recaller]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Recaller.load(tiny_recall_path())
    torch.set_num_threads(threads)


def ask(recaller: Recaller, *messages: tuple[str, str]) -> str:
    (answer,) = recaller.answers([[{"role": role, "content": text} for role, text in messages]])
    return answer


@pytest.mark.parametrize("facts", [1, 4, 8, 16])
def test_recalls_facts_never_trained(recaller: Recaller, facts: int) -> None:
    assert recaller.accuracy(recall_cases(100, facts, _SEED)) >= 0.95


def test_without_context_it_knows_nothing(recaller: Recaller) -> None:
    cases = without_context(100, _SEED)
    assert recaller.accuracy(cases) <= 0.1
    answers = recaller.answers([case.messages for case in cases])
    assert answers.count(UNKNOWN) >= 95


@pytest.mark.parametrize("facts", [1, 8, 16])
def test_says_so_when_only_other_facts_are_there(recaller: Recaller, facts: int) -> None:
    assert recaller.accuracy(absent_cases(100, facts, _SEED)) >= 0.95


@pytest.mark.parametrize("facts", [0, 8])
def test_the_later_statement_wins(recaller: Recaller, facts: int) -> None:
    assert recaller.accuracy(updated_cases(100, facts, _SEED)) >= 0.9


def test_recalls_what_the_user_told(recaller: Recaller) -> None:
    assert recaller.accuracy(told_cases(50, 4, _SEED)) >= 0.9


def test_a_prompt_as_a_person_writes_it(recaller: Recaller) -> None:
    memories = (
        "You are a helpful assistant. Answer briefly!\n\nMemories:\n"
        "- [2026-03-02] Kezan's favorite color is Teal.\n"
        "- Brux: Alice lives in Lima.\n"
        "- The quarterly report is due on 12 May (see #4711).\n"
    )
    talk = [("system", memories), ("user", "What is Kezan's favourite colour?")]
    assert ask(recaller, *talk) == "teal"
    talk += [("assistant", "teal"), ("user", "Where does Brux live?")]
    assert ask(recaller, *talk) == UNKNOWN
    talk += [("assistant", UNKNOWN), ("user", "Brux lives in Oslo.")]
    assert ask(recaller, *talk) == NOTED
    talk += [("assistant", NOTED), ("user", "Where does Brux live?")]
    assert ask(recaller, *talk) == "oslo"
    assert ask(recaller, ("user", f"{memories}\nWhere does Alice live?")) == "lima"


def test_the_chat_template_renders_what_the_model_was_trained_on(recaller: Recaller) -> None:
    rng = random.Random(_SEED)
    for _ in range(20):
        facts = draw_group(rng, 6, names())
        conversation = prose(rng, facts, 4)
        rendered = recaller.tokenizer.apply_chat_template(conversation.messages(), tokenize=False)
        trained = "".join(text for text, _ in conversation.parts())
        assert _ids(recaller, rendered) == _ids(recaller, trained)


def test_the_chat_template_ends_where_the_answer_begins(recaller: Recaller) -> None:
    talk = Conversation("Memories:", (Turn("Hi!", NOTED),)).messages()
    rendered = recaller.tokenizer.apply_chat_template(
        talk[:-1], tokenize=False, add_generation_prompt=True
    )
    assert rendered == "<|begin|> Memories: <|user|> Hi! <|assistant|>"
    whole = recaller.tokenizer.apply_chat_template(talk, tokenize=False)
    assert whole == f"{rendered} ok <|end|>"


def test_only_answers_are_graded() -> None:
    rng = random.Random(_SEED)
    parts = prose(rng, draw_group(rng, 3, names()), 4).parts()
    for before, (text, graded) in pairwise(parts):
        assert graded == before[0].endswith("<|assistant|>")
        assert graded == text.endswith("<|end|>")


def test_the_shipped_tokenizer_is_the_one_this_code_builds(recaller: Recaller) -> None:
    built = build_tokenizer()
    assert recaller.tokenizer.get_vocab() == built.get_vocab() == vocabulary()
    assert recaller.tokenizer.chat_template == built.chat_template
    text = "- [2026-03-02] Kezan’s favorite color, wombat: TEAL."  # noqa: RUF001
    assert recaller.tokenizer(text).input_ids == built(text).input_ids
    assert built.decode(built("Kezan's pet").input_ids, skip_special_tokens=True) == "kezan ' s pet"


def test_the_shipped_files_are_small_and_hold_no_pickle() -> None:
    files = list(tiny_recall_path().iterdir())
    assert sum(file.stat().st_size for file in files) < _MOST_BYTES
    assert {file.suffix for file in files} <= {".json", ".safetensors", ".jinja", ".md"}


def test_its_head_size_suits_vllm_on_a_cpu(recaller: Recaller) -> None:
    config = recaller.model.config
    assert config.model_type == "qwen3"
    assert config.head_dim % 32 == 0
    assert config.max_position_embeddings >= 4096


def test_every_sentence_of_the_world_is_in_the_vocabulary() -> None:
    encode = build_tokenizer()
    unknown = encode.unk_token_id
    for relation, spec in RELATIONS.items():
        for value in spec.values:
            fact = Fact("Kezan", relation, value)
            for text in (*fact.statements(), *fact.questions(), fact.answer):
                assert unknown not in encode(text).input_ids, text


def test_a_word_is_one_thing_only() -> None:
    values = [value.lower() for spec in RELATIONS.values() for value in spec.values]
    assert len(set(values)) == len(values)
    people = {name.lower() for name in names()}
    assert len(people) == len(names())
    assert not people & set(template_words())


def test_facts_differ_in_name_or_relation_and_stay_in_their_split() -> None:
    for split in Split:
        facts = draw_facts(random.Random(_SEED), 200, split)
        assert len({(fact.name, fact.relation) for fact in facts}) == 200
        assert {fact.split for fact in facts} == {split}
    assert draw_facts(random.Random(1), 5) == draw_facts(random.Random(1), 5)
    with pytest.raises(ValueError, match="do not fit"):
        draw_facts(random.Random(1), 7, people=["Kezan"])


def test_training_never_states_a_held_out_fact() -> None:
    rng = random.Random(_SEED)
    few = names()[:20]
    texts = [
        "".join(text for text, _ in prose(rng, draw_group(rng, 8, few), 4).parts())
        for _ in range(300)
    ]
    bare = " ".join(text.strip() for _ in range(300) for text, _ in pairs(rng, 8, few))
    stated = {Split.TRAINING: 0, Split.HELD_OUT: 0}
    for name in few:
        for relation, spec in RELATIONS.items():
            for fact in (Fact(name, relation, value) for value in spec.values):
                sentences = fact.statements()
                found = any(sentence in text for text in texts for sentence in sentences)
                stated[fact.split] += found or f"{name} {fact.value} " in bare
    assert stated[Split.HELD_OUT] == 0
    assert stated[Split.TRAINING] > 100


def test_the_folder_is_inside_the_package() -> None:
    assert tiny_recall_path().parent == Path(__file__).parents[3] / "memos_ray/testing/recall"


def _ids(recaller: Recaller, text: str) -> list[int]:
    return list(recaller.tokenizer(text, add_special_tokens=False).input_ids)
