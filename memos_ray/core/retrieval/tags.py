"""Tags of a namespace, and which of them a query names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from memos_ray.core.retrieval.text import Analyzer, fold, is_unspaced, split_words

Terms = tuple[str, ...]


class Tags:
    """Tags in use.

    A query names a tag when it holds the words of the tag side by side, stop words and inflection
    aside: `code review` is named by "after both code reviews", not by "a review of the code".

    Complexity: `named` is linear in the words of the query times the languages, plus the number of
    tags that are written without spaces.
    """

    def __init__(self, analyzer: Analyzer) -> None:
        self._analyzer = analyzer
        self._uses: dict[str, int] = {}
        self._unspaced: dict[str, str] = {}
        # For each language that was asked for, tags by their first term.
        self._tables: dict[str, dict[str, dict[str, Terms]]] = {}

    def replace(self, before: Iterable[str], after: Iterable[str]) -> None:
        """Follows a memory whose tags change; none are those of a memory that is not there."""
        old, new = set(before), set(after)
        for tag in new - old:
            self._add(tag)
        for tag in old - new:
            self._drop(tag)

    def named(self, text: str, spoken: Iterable[str]) -> list[str]:
        """Tags that a query names, read in the languages of the memories."""
        if not self._uses:
            return []
        folded = fold(text)
        found = {tag for tag, written in self._unspaced.items() if written in folded}
        words = [word for word in split_words(folded) if not is_unspaced(word)]
        for language in tuple(spoken) or ("en",):
            table = self._tables.get(language)
            if table is None:
                table = self._tables[language] = {}
                for tag in self._uses:
                    self._enter(tag, language)
            terms = self._terms(words, language)
            for place, term in enumerate(terms):
                for tag, wanted in table.get(term, {}).items():
                    if terms[place : place + len(wanted)] == wanted:
                        found.add(tag)
        return sorted(found)

    def memory_bytes(self) -> int:
        """Estimated size."""
        return (300 + 300 * len(self._tables)) * len(self._uses)

    def _add(self, tag: str) -> None:
        self._uses[tag] = self._uses.get(tag, 0) + 1
        if self._uses[tag] > 1:
            return
        folded = fold(tag)
        if any(map(is_unspaced, split_words(folded))):
            self._unspaced[tag] = folded
            return
        for language in self._tables:
            self._enter(tag, language)

    def _drop(self, tag: str) -> None:
        self._uses[tag] -= 1
        if self._uses[tag]:
            return
        del self._uses[tag]
        if self._unspaced.pop(tag, None) is not None:
            return
        words = split_words(fold(tag))
        for language, table in self._tables.items():
            terms = self._terms(words, language)
            if terms:
                held = table[terms[0]]
                del held[tag]
                if not held:
                    del table[terms[0]]

    def _enter(self, tag: str, language: str) -> None:
        terms = () if tag in self._unspaced else self._terms(split_words(fold(tag)), language)
        if terms:
            self._tables[language].setdefault(terms[0], {})[tag] = terms

    def _terms(self, words: Sequence[str], language: str) -> Terms:
        return tuple(filter(None, (self._analyzer.term(word, language) for word in words)))
