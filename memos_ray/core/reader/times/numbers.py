"""Numbers as words, for "three weeks ago" and 十二天前."""

from __future__ import annotations

_ENGLISH = {
    word: number
    for number, words in {
        1: "a an one",
        2: "two",
        3: "three",
        4: "four",
        5: "five",
        6: "six",
        7: "seven",
        8: "eight",
        9: "nine",
        10: "ten",
        11: "eleven",
        12: "twelve",
        13: "thirteen",
        14: "fourteen",
        15: "fifteen",
        18: "eighteen",
        20: "twenty",
        24: "twenty-four",
        30: "thirty",
        40: "forty",
        50: "fifty",
    }.items()
    for word in words.split()
}
# "A few" names no number: the bounds between which it lies.
_VAGUE = {"couple": (1, 3), "few": (2, 5), "several": (3, 8)}

_DIGITS = {
    digit: value
    for value, digits in enumerate(
        ("零〇", "一", "二两兩", "三", "四", "五", "六", "七", "八", "九")
    )
    for digit in digits
}

ENGLISH_COUNT = (
    r"(?:\d{1,3}|(?:a )?couple(?: of)?|(?:a )?few|several|twenty-four|"
    + "|".join(sorted((w for w in _ENGLISH if w not in {"a", "an", "twenty-four"}), key=len)[::-1])
    + r"|an?)"
)
CHINESE_COUNT = r"(?:\d{1,3}|[零〇一二两兩三四五六七八九十百]{1,4}|几|幾|数|數|半)"


def english_count(words: str) -> tuple[int, int]:
    """Returns the least and the greatest number that the words can mean.

    Raises:
        ValueError: the words are no number.
    """
    if words.isdecimal():
        return int(words), int(words)
    for word, bounds in _VAGUE.items():
        if word in words:
            return bounds
    if words not in _ENGLISH:
        raise ValueError("not a number word")
    return _ENGLISH[words], _ENGLISH[words]


def chinese_number(digits: str) -> int:
    """Reads 十二, 三十, 二〇二三 or 12.

    Raises:
        ValueError: the characters are no number.
    """
    if digits.isdecimal():
        return int(digits)
    if not digits or any(d not in _DIGITS and d not in "十百" for d in digits):
        raise ValueError("not a number")
    if "十" not in digits and "百" not in digits:
        return int("".join(str(_DIGITS[d]) for d in digits))
    hundreds, _, rest = digits.rpartition("百")
    tens, ten, units = rest.rpartition("十")
    total = 100 * _DIGITS[hundreds[-1]] if hundreds else 0
    if ten:
        total += 10 * (_DIGITS[tens[-1]] if tens and tens[-1] in _DIGITS else 1)
    return total + (_DIGITS[units[-1]] if units else 0)


def chinese_count(words: str) -> tuple[int, int]:
    """Returns the least and the greatest number that the characters can mean; 几 is vague.

    Raises:
        ValueError: the characters are no number.
    """
    if words in {"几", "幾", "数", "數"}:
        return 2, 9
    number = chinese_number(words)
    return number, number
