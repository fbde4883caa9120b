"""The smaller slots of a request: limit, scope, output, kinds of memory, topics, anchors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from memos_ray.core.cube.metadata import SemanticType
from memos_ray.core.reader.query.call import Reach, Scope, Target
from memos_ray.core.reader.times.numbers import chinese_number, english_count

_NUMBER = r"(?P<n>\d{1,4}|one|two|three|four|five|six|seven|eight|nine|ten|twelve|fifteen|twenty)"
_ITEMS = (
    r"(?:items?|results?|memor(?:y|ies)|notes?|entr(?:y|ies)|records?|facts?|messages?|things?|"
    r"points?|examples?|events?|documents?|hits?|answers?|turns?)"
)
_LIMIT = re.compile(
    rf"\b(?:only\s+)?(?:the\s+)?(?:top|at most|up to|no more than|maximum of|max|"
    rf"limit(?: to)?)[\s:=]+{_NUMBER}"
    rf"\b(?!\s*(?:%|percent|days?|weeks?|months?|years?|hours?|minutes?))(?:\s+{_ITEMS}\b)?",
    re.I,
)
_LIMIT_ITEMS = re.compile(
    rf"\b(?:only\s+|just\s+|the\s+)*(?:first|last|latest|most recent|newest|best|"
    rf"most relevant)\s+{_NUMBER}\s+"
    rf"(?:most \w+\s+)?{_ITEMS}\b|"
    rf"\b(?:only|just|the)\s+(?:(?:only|"
    rf"and)\s+)*{_NUMBER.replace('<n>', '<m>')}\s+(?:most \w+\s+)?{_ITEMS}\b",
    re.I,
)
_LIMIT_CHINESE = re.compile(
    r"(?:(?:前|最多|至多|不超过|最近的?|最新的?|最重要的?|最相关的?|只要)\s*)"
    r"(?P<n>\d{1,4}|[一二两三四五六七八九十]{1,3})\s*(?:[条條个個项項则則件篇](?!月|星期|"
    r"礼拜|小时))(?:记忆|结果|笔记|记录)?"
)
_SCOPE_NAMESPACE = re.compile(
    r"\b(?:in|from|within|under|across|of|to)\s+(?:the\s+)?namespaces?\s*[:=]?\s*"
    r"[\"'\u201c]?(?P<name>(?!and\b)[\w][\w./:-]*)[\"'\u201d]?"
    r"|\bnamespace\s*[:=]\s*[\"']?(?P<named>[\w][\w./:-]*)[\"']?"
    r"|\b(?:in|from|within)\s+the\s+[\"']?(?P<before>[\w][\w./-]*)[\"']?\s+namespace\b"
    r"|(?:在|从)?\s*命名空间\s*[:\uff1a]?\s*[\"'「\u201c]?(?P<chinese>[A-Za-z0-9_./:-]+)[\""
    r"'」\u201d]?\s*(?:里的?|中的?|内的?|里面的?)?",
    re.I,
)
_OWNED = r"(?:memor(?:y|ies)|notes?|notebook|records?|diary|journal|files|documents|namespace)"
_SCOPE_REACH: tuple[tuple[Reach, re.Pattern[str]], ...] = (
    (
        Reach.ALL,
        re.compile(
            r"\b(?:across|in|from|over)\s+(?:all|every|any)\s+(?:of\s+)?(?:my\s+|the\s+|our\s+)?"
            r"(?:namespaces?|memor(?:y|ies)|notes|sources|conversations)\b|\beverywhere\b|"
            r"(?:在|从)?所有(?:的)?(?:命名空间|空间|记忆|笔记)(?:里|中)的?",
            re.I,
        ),
    ),
    (
        Reach.SHARED,
        re.compile(
            rf"\b(?:in|from|within|among|of)\s+(?:(?:our|the team(?:'s)?|the group(?:'s)?|"
            rf"the)\s+)?(?:shared|team(?:'s)?|"
            rf"common|public|group(?:'s)?)\s+{_OWNED}\b|\b(?:in|from|within)\s+(?:our|"
            rf"the team's)\s+(?:\w+\s+)?{_OWNED}\b|"
            r"(?:在|从)?(?:团队|團隊|我们|我們|大家|小组|共享)的?(?:共享)?的?(?:记忆|笔记|"
            r"文档|空间|知识库)(?:里|中)?的?",
            re.I,
        ),
    ),
    (
        Reach.MINE,
        re.compile(
            rf"\b(?:in|from|within|among|of)\s+my\s+(?:own\s+|private\s+|personal\s+)?{_OWNED}\b|"
            r"(?:在|从)?我(?:自己|个人|私人)?的(?:私人)?(?:记忆|笔记|日记|备忘|文档|"
            r"记录)(?:里|中)的?",
            re.I,
        ),
    ),
)
_OWNED_BY_ME = re.compile(
    rf"\bmy\s+(?:own\s+|private\s+|personal\s+)?{_OWNED}\b|我(?:自己)?的(?:笔记|记忆|日记|备忘)",
    re.I,
)
_TARGET: tuple[tuple[Target, re.Pattern[str]], ...] = (
    (
        Target.JSON,
        re.compile(
            r"\b(?:as|in|into)\s+(?:a\s+)?(?:valid\s+)?json(?:\s+(?:format|object|"
            r"array))?\b|\bjson (?:output|format)\b|"
            r"(?:用|以)\s*json(?:的?格式|形式)?|json格式",
            re.I,
        ),
    ),
    (
        Target.TABLE,
        re.compile(
            r"\b(?:as|in|into)\s+(?:a\s+)?(?:\w+\s+)?(?:table|spreadsheet)(?:\s+(?:form|"
            r"format))?\b(?!\s+\w+ing\b)|"
            r"\btabular\b|(?:用|以|做成|列成|整理成)(?:一个|一張|一张)?表格(?:的?形式|格式)?",
            re.I,
        ),
    ),
    (
        Target.LIST,
        re.compile(
            r"\b(?:as|in|into)\s+(?:a\s+)?(?:\w+\s+)?(?:list|bullet(?:ed)?(?: points?|"
            r" list)?)\b(?:\s+form(?:at)?)?|"
            r"\bbullet points\b|(?:用|以|做成)(?:一个)?(?:列表|清单|要点)(?:的?形式|"
            r"格式)?|分点(?:列出|说明)?",
            re.I,
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Steering:
    """Slots whose words only steer the request, and where those words stand."""

    limit: int | None = None
    scope: Scope = field(default_factory=Scope)
    target: Target = Target.TEXT
    spans: tuple[tuple[int, int], ...] = ()
    reasons: tuple[str, ...] = ()


def find_steering(text: str) -> Steering:
    """Finds limit, scope and output format."""
    spans: list[tuple[int, int]] = []
    reasons: list[str] = []
    limit = _limit(text, spans, reasons)
    scope = _scope(text, spans, reasons)
    target = Target.TEXT
    for one, pattern in _TARGET:
        match = pattern.search(text)
        if match is not None:
            target = one
            spans.append(match.span())
            reasons.append(f"target: {match[0].strip()}")
            break
    return Steering(limit, scope, target, tuple(spans), tuple(reasons))


def _limit(text: str, spans: list[tuple[int, int]], reasons: list[str]) -> int | None:
    for pattern in (_LIMIT, _LIMIT_ITEMS, _LIMIT_CHINESE):
        match = pattern.search(text)
        if match is None:
            continue
        words = match["n"] or match.groupdict().get("m") or ""
        number = chinese_number(words) if not words.isascii() else english_count(words.lower())[0]
        if number < 1:
            continue
        # "The last three memories" names what is meant; only a bare "top 5" is pure steering.
        if pattern is not _LIMIT_ITEMS:
            spans.append(match.span())
        reasons.append(f"limit: {match[0].strip()}")
        return number
    return None


def _scope(text: str, spans: list[tuple[int, int]], reasons: list[str]) -> Scope:
    names: dict[str, None] = {}
    for match in _SCOPE_NAMESPACE.finditer(text):
        name = next(group for group in match.groups() if group).rstrip(".:,/")
        names[name] = None
        spans.append(match.span())
        reasons.append(f"scope: namespace {name}")
    for reach, pattern in _SCOPE_REACH:
        found = pattern.search(text)
        if found is not None:
            spans.append(found.span())
            reasons.append(f"scope: {found[0].strip()}")
            return Scope(reach, tuple(names))
    owned = _OWNED_BY_ME.search(text)
    if owned is not None:
        # "Delete my notes about X" restricts, but its words are also what is looked for.
        reasons.append(f"scope: {owned[0]}")
        return Scope(Reach.MINE, tuple(names))
    return Scope(namespaces=tuple(names))


_TYPES: tuple[tuple[SemanticType, re.Pattern[str]], ...] = (
    (
        SemanticType.PREFERENCE,
        re.compile(
            r"\b(?:prefer(?:s|red|ence|ences)?|favou?rites?|dislikes?|enjoys?|tastes? in|fond of|"
            r"(?:do|does|did) (?:\w+\s+){1,3}?(?:like|love|hate)(?! to know)|likes|loves|hates|"
            r"liked? (?:best|most|least))\b"
            r"|喜欢|喜歡|偏好|最爱|最愛|讨厌|討厭|爱好|愛好|爱吃|爱喝|口味|偏爱|更喜",
            re.I,
        ),
    ),
    (
        SemanticType.PROCEDURE,
        re.compile(
            r"\bhow (?:do|can|should|would|could) (?:i|we|you|one)\b(?! know| remember|"
            r" feel)|\bhow to\b|"
            r"\bsteps? (?:to|for)\b|\bstep[- ]by[- ]step\b|\b(?:procedure|instructions|"
            r"runbook|workflow|recipe) (?:for|to)\b"
            r"|怎么(?:做|办|安装|配置|设置|使用|操作)|如何|步骤|步驟|流程|教程|操作方法",
            re.I,
        ),
    ),
    (
        SemanticType.DOCUMENT,
        re.compile(
            r"\b(?:documents?|documentation|docs?|papers?|manuals?|pdfs?|reports?|"
            r"articles?|handbook|"
            r"wiki|readme)\b|文档|文檔|文件里|论文|論文|手册|报告|報告|文章|资料",
            re.I,
        ),
    ),
    (
        SemanticType.EVENT,
        re.compile(
            r"\b(?:events?|incidents?|outages?|happen(?:ed|s|ing)?)\b|发生|發生|事件|事故", re.I
        ),
    ),
    (
        SemanticType.EPISODE,
        re.compile(
            r"\b(?:(?:did|have|has|had) (?:\w+\s+){1,3}?(?:say|said|mention(?:ed)?|tell|"
            r"told|talk(?:ed)?|"
            r"discuss(?:ed)?|ask(?:ed)?)|we (?:talk(?:ed)?|discuss(?:ed)?|chat(?:ted)?|spoke)|"
            r"conversations?|chats?|dialogues?)\b"
            r"|说过|說過|聊过|聊過|提到|谈到|談到|对话|對話|聊天|讨论过|讨论了",
            re.I,
        ),
    ),
    (SemanticType.SKILL, re.compile(r"\b(?:skills?|abilities)\b|技能|本领", re.I)),
    (
        SemanticType.TASK_PROMPT,
        re.compile(
            r"\b(?:prompts?|prompt templates?|system prompt)\b|提示词|提示詞|提示模板", re.I
        ),
    ),
    (SemanticType.FACT, re.compile(r"\bfacts?\b(?! that)|事实|事實", re.I)),
)


def find_types(text: str) -> Iterator[tuple[SemanticType, str]]:
    """Yields the kinds of memory that the words point to, with the words."""
    for one, pattern in _TYPES:
        match = pattern.search(text)
        if match is not None:
            yield one, match[0].strip()


_TOPIC = re.compile(
    r"\b(?:about|regarding|concerning|on the (?:topic|subject) of|with (?:regard|"
    r"respect) to|related to)\s+"
    r"(?P<topic>[^,.;:?!\n]{1,80})",
    re.I,
)
_TOPIC_END = re.compile(
    r"\s+(?:in|on|at|from|since|during|before|after|between|throughout|across|when|while|that|"
    r"which|who|last|this|next|"
    r"yesterday|today|tomorrow|as|with|for|and (?:what|how|when|why)|to|is|was|are|were|"
    r"did|does|do)\b.*$",
    re.I,
)
_DETERMINER = re.compile(r"^(?:the|my|our|your|his|her|their|a|an)\s+", re.I)
_PREPOSITION = re.compile(r"(?:for|in|on|to|at|with|from|by|of|into)\b", re.I)
_TOPIC_CHINESE = re.compile(
    r"(?:关于|關於|(?<!所)有关(?!于)|"
    r"(?<!所)有關(?!於))(?P<topic>[^,\uff0c。.;\uff1b?\uff1f!\uff01的\n]{1,30})"
)
_HASHTAG = re.compile(r"(?<![\w&/])#([^\W\d][\w-]{0,48})")
_EMPTY_TOPICS = frozenset(
    """all anything everything her him it lately me recently something that them these this those us
    what you""".split()
)


def find_topics(text: str, known_tags: Sequence[str]) -> tuple[str, ...]:
    """Finds what a request is about, as far as that is marked, each topic once."""
    found: dict[str, None] = {}
    low = text.casefold()
    for tag in known_tags:
        folded = tag.casefold()
        begin = low.find(folded) if folded else -1
        if begin >= 0 and _stands_alone(low, begin, begin + len(folded)):
            found[tag] = None
    for match in _HASHTAG.finditer(text):
        found[match[1]] = None
    for pattern in (_TOPIC, _TOPIC_CHINESE):
        for match in pattern.finditer(text):
            topic = _TOPIC_END.sub("", match["topic"]).strip(" '\"")
            topic = _DETERMINER.sub("", topic)
            # "What she wrote about for the magazine" names no topic after "about".
            if topic and topic.casefold() not in _EMPTY_TOPICS and not _PREPOSITION.match(topic):
                found[topic] = None
    return tuple(found)


def _stands_alone(text: str, begin: int, end: int) -> bool:
    before, after = text[begin - 1 : begin], text[end : end + 1]
    return not any(c and c.isascii() and (c.isalnum() or c == "_") for c in (before, after))


_GATHERING = (
    r"(?:meetings?|calls?|conversations?|chats?|sessions?|discussions?|talks?|trips?|"
    r"part(?:y|ies)|interviews?|"
    r"stand-?ups?|reviews?|visits?|lunch(?:es)?|dinners?|workshops?|conferences?|"
    r"class(?:es)?|lessons?|"
    r"appointments?|retreat|retrospective|sync|vacation|holidays?|weddings?|dates?)"
)
_ANCHOR = re.compile(
    r"\b(?:(?:in|at|during|from|after|before|since|on)\s+)?"
    r"(?:(?:our|my|the|that|his|her|their|your|[A-Z]\w+'s)\s+)?"
    rf"(?:last|previous|first|latest|most recent|earlier)\s+(?:\w+\s+)?{_GATHERING}\b"
    rf"|\b(?:in|at|during|from|after|before|since|on)\s+(?:our|that|my|his|her|"
    rf"their)\s+(?:\w+\s+)?{_GATHERING}\b"
    r"|\b(?:the\s+)?(?:last|first|previous) time\s+(?:that\s+)?(?:we|i|you|he|she|they|"
    r"[A-Z]\w+)\s+\w+"
    r"|\bthe other (?:day|night|week)\b|\bback then\b|\bwhen we (?:first |last )?(?:met|"
    r"talked|spoke|chatted)\b"
    r"|\b(?:as|like|what) (?:i|we|you) (?:said|mentioned|discussed|told you|"
    r"talked about) (?:before|earlier|previously)\b"
    r"|\bearlier (?:in this|in our) (?:conversation|chat|session)\b",
    re.I,
)
_ANCHOR_CHINESE = re.compile(
    r"(?:(?:我们|我們|咱们|你们)?(?:上次|上一次|上回|那次|第一次|前一次|最近一次|刚才|剛才|"
    r"刚刚|之前|以前)的?"
    r"(?:会议|會議|开会|聊天|对话|對話|讨论|討論|见面|見面|谈话|談話|旅行|聚会|聚會|面试|"
    r"面試|电话|電話|通话|会面|培训|约会|"
    r"说的|說的|提到的|聊的|说过的|聊到的)|上次|上回|刚才|剛才)"
)


def find_anchors(text: str) -> tuple[str, ...]:
    """Finds references to a shared past that only the context can resolve, each once."""
    pattern = _ANCHOR_CHINESE if not text.isascii() and _ANCHOR_CHINESE.search(text) else _ANCHOR
    return tuple(dict.fromkeys(match[0].strip() for match in pattern.finditer(text)))
