"""Which language a text is in."""

from __future__ import annotations

import re

# Enough to see the script; a language does not change in the middle of a text often enough.
_SAMPLE_CHARS = 2_000
_SCRIPTS = (
    # Kana before Han: Japanese is written with both.
    ("ja", re.compile(r"[\u3040-\u30ff\u31f0-\u31ff]")),
    ("ko", re.compile(r"[\uac00-\ud7af\u1100-\u11ff]")),
    ("zh", re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0002fa1f]")),
    ("ru", re.compile(r"[\u0400-\u04ff]")),
    ("ar", re.compile(r"[\u0600-\u06ff]")),
    ("he", re.compile(r"[\u0590-\u05ff]")),
    ("el", re.compile(r"[\u0370-\u03ff]")),
    ("hi", re.compile(r"[\u0900-\u097f]")),
    ("th", re.compile(r"[\u0e00-\u0e7f]")),
)
_UKRAINIAN = re.compile(r"[іїєґІЇЄҐ]")
_LETTER = re.compile(r"[^\W\d_]")
# A Chinese sentence may quote English at length, but an English one rarely quotes this much.
_LEAST_SHARE = 0.1


def detect_language(text: str, *, statistical: bool = False) -> str:
    """Returns an ISO 639-1 code, from the script alone unless asked for more.

    Args:
        text: its first 2,000 characters are read.
        statistical: tells languages in Latin script apart with `py3langid`, which takes
            milliseconds and a model of some megabytes; otherwise these are all `en`.
    """
    sample = text[:_SAMPLE_CHARS]
    if not sample.isascii():
        letters = len(_LETTER.findall(sample))
        for code, pattern in _SCRIPTS:
            if len(pattern.findall(sample)) > _LEAST_SHARE * letters:
                return "uk" if code == "ru" and _UKRAINIAN.search(sample) else code
    if not statistical or not _LETTER.search(sample):
        return "en"
    import py3langid

    code, _ = py3langid.classify(sample)
    return str(code)
