"""A summary out of what is there: sentences of the memories themselves, and no others.

The sentences that share most with all the memories together are taken, without repetition, in the
order of time: the centroid method (Radev et al., "Centroid-based summarization of multiple
documents", 2004) with maximal marginal relevance (Carbonell and Goldstein, 1998).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from memos_ray.core.evolution.echo import sentences_of
from memos_ray.core.retrieval.text import fold, is_unspaced, split_words

_SHARE, _SHORTEST = 0.3, 3
_NEW = 0.6


def summarised(texts: Sequence[str], most_chars: int = 2000) -> str:
    """Returns an extract of texts: at most three tenths of their sentences, three if there are.

    Args:
        texts: in the order of time.
    """
    sentences = list(dict.fromkeys(one for text in texts for one in sentences_of(text)))
    words = [_counted(one) for one in sentences]
    spread = Counter(word for one in words for word in set(one))
    rarity = {word: math.log(1 + len(words) / count) for word, count in spread.items()}
    centre: Counter[str] = Counter()
    for one in words:
        for word, count in one.items():
            centre[word] += count
    worth = [
        sum(count * centre[word] * rarity[word] for word, count in one.items())
        / (math.sqrt(sum(count * count for count in one.values())) or 1.0)
        for one in words
    ]
    wanted = max(_SHORTEST, math.ceil(_SHARE * len(sentences)))
    chosen: list[int] = []
    left = most_chars
    for place in sorted(range(len(sentences)), key=lambda at: (-worth[at], at)):
        alike = max((_alike(words[place], words[one]) for one in chosen), default=0.0)
        if len(chosen) >= wanted or alike > _NEW or len(sentences[place]) + 1 > left:
            continue
        chosen.append(place)
        left -= len(sentences[place]) + 1
    return "\n".join(sentences[place] for place in sorted(chosen))


def _counted(sentence: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    for word in split_words(fold(sentence)):
        if is_unspaced(word):
            counts.update(word[at : at + 2] for at in range(max(len(word) - 1, 1)))
        else:
            counts[word] += 1
    return counts


def _alike(one: Counter[str], other: Counter[str]) -> float:
    both = (one & other).total()
    return both / max(min(one.total(), other.total()), 1)
