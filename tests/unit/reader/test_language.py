"""Languages by their script, and by statistics where asked for."""

from __future__ import annotations

import pytest

from memos_ray.core.reader.language import detect_language


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Where is the key?", "en"),
        ("钥匙在哪里", "zh"),
        ("鍵はどこですか", "ja"),
        ("열쇠가 어디에 있어요", "ko"),
        ("где ключ", "ru"),
        ("де ключ, їжак", "uk"),
        ("أين المفتاح", "ar"),
        ("", "en"),
        ("1234 !?", "en"),
        ("the word 钥匙 means key, and this is a long English sentence around it", "en"),
        ("请把 the English text about the project 翻译成中文", "zh"),
    ],
)
def test_scripts(text: str, expected: str) -> None:
    assert detect_language(text) == expected


def test_only_the_beginning_is_read() -> None:
    assert detect_language("plain words " * 500 + "钥匙" * 5000) == "en"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Wo ist der Schlüssel, den ich gestern auf den Tisch gelegt habe?", "de"),
        ("Où est la clé que j'ai posée hier sur la table ?", "fr"),
        ("123", "en"),
    ],
)
def test_statistics_tell_latin_languages_apart(text: str, expected: str) -> None:
    assert detect_language(text, statistical=True) == expected
