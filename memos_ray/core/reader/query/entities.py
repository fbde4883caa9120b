"""Names in a request: participants, handles, quotations, capitalised and Chinese names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from memos_ray.core.reader.query.call import Entity, EntityKind

# A request names a handful of things; a pasted text would name hundreds.
_MOST_ENTITIES = 32
_HANDLE = re.compile(r"(?<![\w.])@([\w][\w.-]{0,62}\w|\w)")
_QUOTED = re.compile(
    r"\"([^\"\n]{1,120})\"|\u201c([^\u201d\n]{1,120})\u201d|[「『《]([^」』》\n]{1,120})[」』》]"
    r"|(?<!\w)'([^'\n]{2,120})'(?!\w)|\u2018([^\u2019\n]{2,120})\u2019"
)
_CAPITAL = r"(?:(?:[A-Z]\.){2,}|[A-Z][\w&]*(?:[-'\u2019][A-Z0-9]\w*)*|[a-z]{1,3}[A-Z]\w+)"
# A full stop inside a name follows an initial or a title: "C. S. Lewis", "Dr. Seuss".
_INITIAL = r"(?:(?<=\b[A-Z])|(?<=\bDr|\bMr|\bMs|\bSt)|(?<=\bMrs))\.\s"
_SPAN = re.compile(
    rf"(?<![\w@#'\u2019./]){_CAPITAL}"
    r"(?:(?:\s+(?:of the|of|the|de|van|von|der|la|and the)\s+|\s+|"
    rf"{_INITIAL})(?={_CAPITAL}){_CAPITAL}){{0,5}}(?![\w])"
)
_SENTENCE_START = re.compile(r"(?:^|[.!?:;\n\"\u201c(-])\s*$")
# Capitalised without being a name, wherever they stand.
_NEVER = frozenset(
    """i i'm i'd i'll i've ok okay tv am pm january february march april may june july august
    september october november december monday tuesday wednesday thursday friday saturday
    sunday jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed thu fri sat sun
    json csv utc q1 q2 q3 q4""".split()
)
# Words that open a sentence; a capital there proves nothing.
OPENERS = frozenset(
    """a about according actually add after all also although always am an and any are as ask at
    audit based because been before being between both but by can change compare contrast
    correct could delete describe did display do does don't during each edit either
    enumerate erase even every everything explain fetch find finally first for forget from
    get give grant had has have he hello help hers hey hi his how however if in is isn't
    it its it's just keep kindly last later let let's list log look make many maybe me
    memorize mention my name never next no not note now of on once one only or order other
    our ours over please publish purge recall recap recently record remember remind remove
    rename replace retrieve return save say search set share she should show since so some
    something sort still store sum summarise summarize tell than thank thanks that that's
    the their them then there these they this those though to today tomorrow tonight top
    two under until update use used us very was we were what what's when where which while
    who who's whom whose why will with without would write yes yesterday yet you your
    yours any anyone does can't couldn't didn't doesn't won't wasn't weren't haven't
    hasn't three four five""".split()
)
# After a capital at the start of a sentence these make it the subject, hence likely a name.
_PREDICATE = re.compile(
    r"\s+(?:is|was|has|had|does|did|will|would|said|says|told|tells|went|goes|likes?|"
    r"loves?|wants?|and\s+[A-Z])\b"
    r"|['\u2019]s\b"
)

_SURNAMES = (
    "王李张张刘陈杨赵黄周吴徐孙胡朱林何郭马罗梁宋郑谢韩唐冯董萧曹袁邓许傅沈曾彭吕苏卢蒋蔡贾"
    "丁魏薛叶阎余潘杜戴夏钟汪"
    "田姜范方石姚谭廖邹熊陆郝孔崔康毛邱秦江史顾侯邵孟龙段雷钱汤尹黎易常武乔贺赖龚文張劉陳楊"
    "趙黃吳孫馬羅鄭謝韓馮許葉"
)
_HAN = r"[\u4e00-\u9fff]"
# A Chinese name has no capitals: a surname counts only between words that names stand between.
_BEFORE_NAME = (
    r"(?:^|(?<=[\s,\uff0c。.?\uff1f!\uff01、:\uff1a和跟与與给給对對问問叫找见見帮请請把被让關关"
    r"于於年月天]))"
)
_AFTER_NAME = (
    r"(?=$|[\s,\uff0c。.?\uff1f!\uff01、的说說在是去有和跟与與对對上昨今前最什哪喜爱愛住买"
    r"買来來想要做吃会會过過吗嗎提讨]"
    r"|为什么|怎么|生日|告诉)"
)
_CHINESE_NAME = re.compile(
    rf"{_BEFORE_NAME}((?:欧阳|歐陽|司马|司馬|上官|诸葛|诸葛|慕容|"
    rf"[{_SURNAMES}]){_HAN}{{1,2}}?){_AFTER_NAME}"
)
_CHINESE_NICKNAME = re.compile(
    rf"(?<!{_HAN}[大最])((?:[小老阿](?=[{_SURNAMES}明红红强丽芳军刚杰美华伟敏静燕玲娟霞飞宇"
    rf"婷雪梅])){_HAN})"
    rf"|([{_SURNAMES}](?:先生|女士|小姐|老师|老師|经理|經理|医生|醫生|教授|总|總|同学|阿姨|叔叔))"
)
# Words that begin like a name.
_NOT_NAMES = frozenset(
    """高兴 方便 方法 方案 方面 方向 马上 周末 周年 周围 周边 周期 周一 周二 周三 周四 周五 周六
    周日 常常 常用 常见 平时 成都 石头 江苏 江西 文件 文章 文档 文化 文字 文学 武汉 康复
    钱包 钱的 毛病 毛衣 毛巾 夏天 夏季 秦朝 史上 龙舟 易于 汤圆 许多 许久 何时 何地 何处
    何人 谢谢 黄色 黄金 黄山 黄河 林业 叶子 余下 余额 段落 雷雨 熊猫 田地 范围 马路 曾经
    何况 何必 苏州 郑州 杭州 罗马 温度 张开 张贴 陈述 毛笔 石油 金额 康德 江南 江河 侯鸟
    顾客 顾虑 孔子 老师 老家 老板 老婆 老公 老人 小时 小说 小学 小组 小心 小孩 小吃
    小朋友 唐诗 宋词 唐朝 宋朝 汉朝 谢了""".split()
)


def find_entities(text: str, participants: Sequence[str]) -> tuple[Entity, ...]:
    """Finds names in the order of the text, each once, the surest kind first.

    Args:
        text: the request, as written.
        participants: names known from the conversation, recognised in any case.
    """
    found = entity_spans(text, participants)
    unique = {entity.text.casefold(): entity for _, _, entity in reversed(found)}
    return tuple(e for e in dict.fromkeys(e for _, _, e in found) if e in set(unique.values()))


def entity_spans(text: str, participants: Sequence[str]) -> list[tuple[int, int, Entity]]:
    """Finds names with where they begin and end, in the order of the text; see `find_entities`."""
    found: list[tuple[int, int, Entity]] = []
    for begin, end, entity in _candidates(text, participants):
        if all(end <= b or e <= begin for b, e, _ in found):
            found.append((begin, end, entity))
        if len(found) >= _MOST_ENTITIES:
            break
    return sorted(found, key=lambda item: item[0])


def _candidates(text: str, participants: Sequence[str]) -> Iterator[tuple[int, int, Entity]]:
    yield from _participants(text, participants)
    if "@" in text:
        for match in _HANDLE.finditer(text):
            yield *match.span(), Entity(match[1], EntityKind.HANDLE)
    for match in _QUOTED.finditer(text):
        words = next(group for group in match.groups() if group is not None).strip()
        if words:
            yield *match.span(), Entity(words, EntityKind.QUOTED)
    yield from _capitalised(text)
    if not text.isascii():
        yield from _chinese(text)


def _participants(text: str, participants: Sequence[str]) -> Iterator[tuple[int, int, Entity]]:
    low = text.casefold()
    for name in sorted(participants, key=len, reverse=True):
        folded = name.casefold().strip()
        begin = low.find(folded) if folded and len(low) == len(text) else -1
        while begin >= 0:
            end = begin + len(folded)
            if not folded.isascii() or _is_word(low, begin, end):
                yield begin, end, Entity(name, EntityKind.PARTICIPANT)
                break
            begin = low.find(folded, end)


def _is_word(text: str, begin: int, end: int) -> bool:
    def joins(c: str) -> bool:
        return c.isascii() and (c.isalnum() or c == "_")

    before, after = text[begin - 1 : begin], text[end : end + 1]
    return not (before and joins(before)) and not (after and joins(after))


def _capitalised(text: str) -> Iterator[tuple[int, int, Entity]]:
    for match in _SPAN.finditer(text):
        begin, end = match.span()
        words = match[0]
        at_start = _SENTENCE_START.search(text, max(0, begin - 4), begin) is not None
        if at_start:
            words = _without_openers(words)
            begin = end - len(words)
        words = _without_dates(words)
        if words.endswith(("'s", "\u2019s")):
            words = words[:-2]
        if len(words) < 2 or (
            at_start and begin == match.start() and not _is_subject(text, words, end)
        ):
            continue
        yield begin, begin + len(words), Entity(words, EntityKind.NAME)


def _without_openers(words: str) -> str:
    while words:
        first, _, rest = words.partition(" ")
        if first.casefold().strip(".,'\u2019") not in OPENERS:
            return words
        words = rest.lstrip()
    return ""


def _without_dates(words: str) -> str:
    kept = words.split(" ")
    while kept and kept[-1].casefold().strip(".") in _NEVER:
        kept.pop()
    if kept and (kept[0].casefold() in _NEVER or " ".join(kept).casefold() in OPENERS):
        return ""
    return " ".join(kept)


def _is_subject(text: str, words: str, end: int) -> bool:
    inner_capital = " " in words or any(c.isupper() or c.isdigit() for c in words[1:])
    return inner_capital or _PREDICATE.match(text, end) is not None


def _chinese(text: str) -> Iterator[tuple[int, int, Entity]]:
    for pattern in (_CHINESE_NAME, _CHINESE_NICKNAME):
        for match in pattern.finditer(text):
            name = next(group for group in match.groups() if group)
            if name not in _NOT_NAMES and name[:2] not in _NOT_NAMES:
                yield *match.span(), Entity(name, EntityKind.NAME)
