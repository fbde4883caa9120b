"""Words, terms and languages."""

from __future__ import annotations

import pytest

from memos_ray.core.retrieval.languages import guess
from memos_ray.core.retrieval.text import Analyzer, count_words, fold, split_words


def terms_of(text: str, language: str | None = None) -> set[str]:
    return set(Analyzer().analyse(text, language).terms)


def asked_terms(query: str, *spoken: str) -> set[str]:
    return set(Analyzer().query_terms(split_words(fold(query)), spoken))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It cost 1,250.50 (3rd: 2.5%)", ["it", "cost", "1,250.50", "3rd", "2.5"]),
        ("v1.2.3 and a,b", ["v1", "2", "3", "and", "a", "b"]),
        ("snake_case @handle e-mail", ["snake", "case", "handle", "e", "mail"]),
        ("去年在Lisbon喝茶", ["去年在", "lisbon", "喝茶"]),
        ("\uff26\uff35\uff2c\uff2c\u3000\uff37idth", ["full", "width"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("...", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert split_words(fold(text)) == words


@pytest.mark.parametrize(
    ("memory", "query", "language"),
    [
        ("She adopted two kittens and loves running.", "adopting a kitten to run", "en"),
        ("Die alten Häuser wurden verkauft.", "Wer verkaufte das alte Haus?", "de"),
        ("Los niños corrían por las calles.", "¿Qué calle corre el niño?", "es"),
        ("Les chevaux mangent dans la prairie.", "Que mange le cheval dans les prairies ?", "fr"),
        ("Она читала старые книги.", "Какую старую книгу она читает?", "ru"),
    ],
)
def test_inflected_words_meet_in_their_stem(memory: str, query: str, language: str) -> None:
    assert guess(split_words(fold(memory))) == language
    shared = terms_of(memory) & asked_terms(query, language)
    assert len(shared) >= 2


def test_stop_words_are_left_out() -> None:
    assert terms_of("This is what they were about to do with it.") == set()
    assert terms_of("Das ist es, was sie mit uns und für euch haben.") == set()


def test_numbers_and_ordinals_agree() -> None:
    assert asked_terms("the 2nd of 1,500") == {"2", "1500"}
    assert terms_of("1500 people came on the 2nd.") >= {"2", "1500"}


def test_english_spells_accents_both_ways() -> None:
    assert terms_of("a café with a view", "en") == terms_of("a cafe with a view", "en")


def test_chinese_memories_have_pairs_and_single_characters() -> None:
    analysis = Analyzer().analyse("我在图书馆")
    assert {"图书", "书馆", "图", "书", "馆"} <= set(analysis.terms)
    # A stop word may be cut out of the pairs, never out of the text.
    assert analysis.length == sum(1 for term in analysis.terms if len(term) == 2)


def test_chinese_queries_leave_grammar_out() -> None:
    terms = asked_terms("图书馆的书是什么时候还的")
    assert {"图书", "书馆", "图", "书", "馆"} <= terms
    assert terms.isdisjoint({"的", "是", "什", "什么", "的书"})


def test_one_character_finds_itself() -> None:
    assert asked_terms("茶") == {"茶"} <= terms_of("喝茶吗")


def test_only_characters_with_a_meaning_count_alone() -> None:
    # Kana and Hangul spell sounds: alone they would match everything.
    assert all(len(term) == 2 or term in "寿司" for term in asked_terms("おいしい寿司"))
    assert all(len(term) == 2 for term in asked_terms("도서관에서"))


def test_a_query_is_read_in_every_language_that_is_spoken() -> None:
    assert asked_terms("casas", "en", "es") == {"casa", "cas"}


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("", "en"),
        ("Petrosyan", "en"),
        ("Where are the keys that I left on the table?", "en"),
        ("Wo sind die Schlüssel, die ich auf dem Tisch gelassen habe?", "de"),
        ("Où sont les clés que j'ai laissées sur la table ?", "fr"),
        ("Is the door on the left?", "en"),
        ("Door 2, 4 and 6", "en"),
        ("Dove sono le chiavi che ho lasciato sul tavolo?", "it"),
        ("Где ключи, которые я оставил на столе?", "ru"),
        ("Πού είναι τα κλειδιά;", "el"),
    ],
)
def test_guesses(text: str, language: str) -> None:
    assert guess(split_words(fold(text))) == language


def test_the_language_given_wins_over_the_guess() -> None:
    assert Analyzer().analyse("gift", "de-AT").language == "de"
    assert Analyzer().analyse("gift").language == "en"


@pytest.mark.parametrize(
    ("text", "words"),
    [("two words", 2), ("去年在成都", 3), ("", 0), ("a  b\nc", 3), ("ok 好的", 3)],
)
def test_words_are_counted_as_people_count(text: str, words: int) -> None:
    assert count_words(text) == words


def test_data_is_no_word() -> None:
    long = "x" * 50_000
    assert terms_of(long) == {long}
