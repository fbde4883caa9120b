"""Languages: which one a text is in, its stop words, its stemmer.

The guess has to be cheap (a few microseconds), repeatable, and above all the same for a memory
whenever it is indexed, so it looks at nothing but the text: the script of each word decides first,
and stop words vote among the languages of one script. A wrong guess costs little, because a query
is analysed in the languages that the index holds, not in the one that the query seems to be in.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache, lru_cache

import Stemmer
import stopwordsiso

LATIN: tuple[str, ...] = ("en", "es", "de", "fr", "it", "pt", "nl", "sv", "no", "da", "fi")
LATIN += ("hu", "ro", "tr", "pl", "cs", "id", "ca")
_FAMILIES: tuple[tuple[int, int, tuple[str, ...]], ...] = (
    (0x0000, 0x024F, LATIN),
    (0x0370, 0x03FF, ("el",)),
    (0x0400, 0x052F, ("ru", "uk", "bg", "sr")),
    (0x0530, 0x058F, ("hy",)),
    (0x0590, 0x05FF, ("he", "yi")),
    (0x0600, 0x077F, ("ar", "fa", "ur")),
    (0x0900, 0x097F, ("hi", "ne", "mr")),
    (0x0B80, 0x0BFF, ("ta",)),
    (0x1F00, 0x1FFF, ("el",)),
)
_STEMMERS = {
    "ar": "arabic",
    "ca": "catalan",
    "cs": "czech",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "eo": "esperanto",
    "es": "spanish",
    "et": "estonian",
    "eu": "basque",
    "fa": "persian",
    "fi": "finnish",
    "fr": "french",
    "ga": "irish",
    "hi": "hindi",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "lt": "lithuanian",
    "ne": "nepali",
    "nl": "dutch",
    "no": "norwegian",
    "pl": "polish",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sr": "serbian",
    "st": "sesotho",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
    "yi": "yiddish",
}
_ENGLISH_STOP_WORDS = frozenset(
    """
    a about again all also am an and any are aren as at be been before being both but by can cannot
    could couldn d did didn do does doesn doing don done each either else ever few for from had hadn
    has hasn have haven having he her here hers herself him himself his how i if in into is isn it
    its itself just let ll m many may me might mine more most much must mustn my myself neither no
    nor not o of off on once only or other our ours ourselves out over own quite rather re s same
    shall shan she should shouldn since so some such t than that the their theirs them themselves
    then there these they this those though through thus to too under until up upon us ve very was
    wasn we were weren what when where whether which while who whom whose why will with within
    without won would wouldn yet you your yours yourself yourselves
    """.split()
)
_ENGLISH_TOO = frozenset(
    """
    after ale also an are as bin bra car care come con dare days den door dove era even fin final
    fine gab hat her here hun in is it les man me men mens met mine mis more most no note on once
    one over par per plan plus pour read sea sin site so solo son sure tan ten tire too tot total
    under up van war we were works ya yet you
    """.split()
)
_ENOUGH_WORDS = 100
_CJK_PARTICLES = frozenset("的了吗呢吧啊着")
_HAN = re.compile("[\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]")


@cache
def stop_words(language: str) -> frozenset[str]:
    """Stop words of a language, case-folded; none for one without a list."""
    if language == "en":
        return _ENGLISH_STOP_WORDS
    if language not in stopwordsiso.langs():
        return frozenset()
    return frozenset(word.casefold() for word in stopwordsiso.stopwords(language))


@lru_cache(maxsize=1 << 16)
def is_stop_bigram(bigram: str) -> bool:
    """Whether two characters of Chinese or Japanese carry grammar and no content."""
    return (
        not _CJK_PARTICLES.isdisjoint(bigram)
        or bigram in stop_words("zh")
        or bigram in stop_words("ja")
    )


@lru_cache(maxsize=1 << 16)
def is_content_character(character: str) -> bool:
    """Whether a character is Chinese and means something by itself."""
    return _HAN.match(character) is not None and not (
        character in _CJK_PARTICLES or character in stop_words("zh")
    )


def stemmer(language: str) -> Callable[[str], str]:
    """The Snowball stemmer of a language (Porter 2001); the identity where there is none."""
    if language not in _STEMMERS:
        return str
    stem: Callable[[str], str] = Stemmer.Stemmer(_STEMMERS[language]).stemWord
    if language != "en":
        return stem
    return lambda word: stem(word if word.isascii() else without_accents(word))


def without_accents(word: str) -> str:
    """Drops combining marks: English spells `café` both ways."""
    parts = unicodedata.normalize("NFD", word)
    return "".join(part for part in parts if not unicodedata.combining(part))


def family(word: str) -> tuple[str, ...]:
    """Languages written in the script of a word; English for an unknown script."""
    first = ord(word[0])
    if first < 0x250:
        return LATIN
    for start, end, languages in _FAMILIES:
        if start <= first <= end:
            return languages
    return ("en",)


@cache
def _votes() -> dict[str, tuple[str, ...]]:
    """Maps a stop word to the languages it speaks for; English words speak for English alone."""
    english = _ENGLISH_STOP_WORDS | _ENGLISH_TOO
    if "en" in stopwordsiso.langs():
        english |= stopwordsiso.stopwords("en")
    votes: dict[str, list[str]] = {word: ["en"] for word in _ENGLISH_STOP_WORDS}
    for _, _, languages in _FAMILIES:
        for language in languages:
            if language != "en":
                for word in filter(str.isalpha, stop_words(language) - english):
                    votes.setdefault(word, []).append(language)
    return {word: tuple(languages) for word, languages in votes.items()}


def guess(words: Sequence[str]) -> str:
    """Guesses the language of case-folded words: most stop words win, ties go to the first.

    Without any stop word the script of the first word decides, and English among Latin letters.
    """
    if not words:
        return "en"
    votes = _votes()
    counts: dict[str, int] = {}
    for spoken in filter(None, map(votes.get, words[:_ENOUGH_WORDS])):
        for language in spoken:
            counts[language] = counts.get(language, 0) + 1
    best = max(counts.values(), default=0)
    if not best:
        return family(words[0])[0]
    if counts.get("en", 0) == best:
        return "en"
    return next(name for name in (*LATIN, *counts) if counts.get(name) == best)
