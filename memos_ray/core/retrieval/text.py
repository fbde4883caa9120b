"""Text analysis: words, terms and counts.

Words are runs of letters, digits and marks of the NFKC-normalised, case-folded text; a number keeps
its decimal point and loses its thousands separators. Alphabetic words lose stop words and are
stemmed in the language of the text. Scripts written without spaces give overlapping pairs of
characters and single characters (Nie, Gao, Zhang & Zhou 2000: both together find more than either);
of a longer query only the single characters that carry meaning count, those of Chinese without the
grammatical ones. All patterns are linear in the text.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from memos_ray.core.retrieval import languages

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003134f"
)
_NUMBER = r"(?<![.,\d])(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.\d+)(?![.,]?\d)"
_ASCII_WORD = re.compile(rf"{_NUMBER}|[^\W_]+", re.ASCII)
_UNSPACED_CHARACTER = re.compile(f"[{_UNSPACED}]")
_ORDINAL = re.compile(r"(\d+)(?:st|nd|rd|th)")
_CACHE_WORDS = 100_000


@cache
def _any_word() -> re.Pattern[str]:
    # A mark (a vowel sign of Hindi, say) belongs to its word, yet `\w` leaves it out.
    marks = [code for code in range(0x300, 0x10000) if unicodedata.category(chr(code))[0] == "M"]
    ranges: list[list[int]] = []
    for code in marks:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    inside = "".join(f"\\u{low:04x}-\\u{high:04x}" for low, high in ranges)
    return re.compile(rf"[{_UNSPACED}]+|{_NUMBER}|(?:(?![_{_UNSPACED}])[\w{inside}])+")


def fold(text: str) -> str:
    """Normalises (NFKC) and case-folds."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()


def split_words(folded: str) -> list[str]:
    """Splits a folded text into words; a run of an unspaced script is one word."""
    return (_ASCII_WORD if folded.isascii() else _any_word()).findall(folded)


def is_unspaced(word: str) -> bool:
    """Whether a word is a run of a script written without spaces."""
    return word[0] >= "\u0e00" and _UNSPACED_CHARACTER.match(word) is not None


def count_words(text: str) -> int:
    """Counts words as people do: by spaces, two characters each in scripts without them."""
    spaced = len(text.split())
    return spaced if text.isascii() else spaced + len(_UNSPACED_CHARACTER.findall(text)) // 2


@dataclass(frozen=True, slots=True)
class Analysis:
    """One memory's text, analysed.

    Attributes:
        terms: how often each term occurs.
        length: number of terms, stop words and single characters of unspaced scripts left out.
        words: all words, in order, folded.
    """

    terms: dict[str, int]
    length: int
    words: list[str]
    language: str


class Analyzer:
    """Analyses texts and remembers the terms of words it has met.

    Concurrency: one thread at a time; share it among the indexes of one actor.
    """

    def __init__(self) -> None:
        self._terms: dict[str, dict[str, str]] = {}
        self._stems: dict[str, Callable[[str], str]] = {}

    def analyse(self, text: str, language: str | None = None) -> Analysis:
        """Analyses a memory's text; `language` overrides the guess for words of its script."""
        folded = fold(text)
        words = split_words(folded)
        language = (language or languages.guess(words)).split("-")[0].lower()
        known = self._known(language)
        terms = list(map(known.get, words))
        if None not in terms:
            counts = Counter(filter(None, terms))
            return Analysis(counts, counts.total(), words, language)
        return self._analyse(words, language, folded.isascii())

    def _analyse(self, words: list[str], language: str, plain: bool) -> Analysis:
        """Analyses words some of which are new, or of a script without spaces."""
        known = self._known(language)
        counts: dict[str, int] = {}
        length = 0
        for word in words:
            term = known.get(word)
            if term is None:
                if not plain and is_unspaced(word):
                    length += _count_unspaced(word, counts)
                    continue
                term = self._learn(word, language)
            if term:
                counts[term] = counts.get(term, 0) + 1
                length += 1
        return Analysis(counts, length, words, language)

    def query_terms(self, words: Sequence[str], spoken: Iterable[str]) -> dict[str, str]:
        """Maps the distinct terms of a query to the word each came from.

        Args:
            words: folded words, as from `split_words`.
            spoken: languages in which the memories were analysed.
        """
        spoken = tuple(spoken) or ("en",)
        terms: dict[str, str] = {}
        for word in words:
            if is_unspaced(word):
                pairs = [word[i : i + 2] for i in range(len(word) - 1)]
                grams = [pair for pair in pairs if not languages.is_stop_bigram(pair)]
                grams += filter(languages.is_content_character, word) if pairs else [word]
                for gram in grams:
                    terms.setdefault(sys.intern(gram), gram)
                continue
            for language in spoken:
                term = self.term(word, language)
                if term:
                    terms.setdefault(term, word)
        return terms

    def term(self, word: str, language: str) -> str:
        """The term of a folded word of a script with spaces; empty for a stop word."""
        term = self._known(language).get(word)
        return self._learn(word, language) if term is None else term

    def _known(self, language: str) -> dict[str, str]:
        known = self._terms.get(language)
        if known is None or len(known) > _CACHE_WORDS:
            known = self._terms[language] = {}
        return known

    def _learn(self, word: str, language: str) -> str:
        """The term of a word, empty for a stop word; words of a foreign script use their own."""
        natives = languages.family(word)
        foreign = natives is not languages.LATIN or language in _NOT_LATIN
        native = natives[0] if foreign and language not in natives else language
        term = self._known(language)[word] = self._term(word, native)
        return term

    def _term(self, word: str, language: str) -> str:
        if word in languages.stop_words(language):
            return ""
        if word[0].isdecimal():
            ordinal = _ORDINAL.fullmatch(word)
            return sys.intern(ordinal[1] if ordinal else word.replace(",", ""))
        stem = self._stems.get(language)
        if stem is None:
            stem = self._stems[language] = languages.stemmer(language)
        # Snowball is for words; a long run of letters is data, and hashing it once is enough.
        return sys.intern(stem(word) if len(word) <= 64 else word)


_NOT_LATIN = frozenset(
    "ar bg el fa he hi hy ja km ko lo mr my ne ru sr ta th uk ur yi yue zh".split()
)


def _count_unspaced(run: str, counts: dict[str, int]) -> int:
    """Adds pairs and single characters of an unspaced run; returns the number of pairs."""
    for character in run:
        counts[character] = counts.get(character, 0) + 1
    pairs = 0
    for i in range(len(run) - 1):
        pair = run[i : i + 2]
        if not languages.is_stop_bigram(pair):
            counts[pair] = counts.get(pair, 0) + 1
            pairs += 1
    return pairs or (1 if len(run) == 1 else 0)


@cache
def shared_analyzer() -> Analyzer:
    """The analyzer of this process, for indexes that are not given one."""
    return Analyzer()
