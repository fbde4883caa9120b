"""What a request wants done, and the words that say so."""

from __future__ import annotations

import re
from dataclasses import dataclass

from memos_ray.core.reader.query.call import Intent

_EXPLICIT, _QUESTION, _DEFAULT = 0.9, 0.8, 0.5


@dataclass(frozen=True, slots=True)
class IntentFound:
    """The intent, how sure it is, by which rule, and the command words to leave out."""

    intent: Intent
    confidence: float
    rule: str
    command: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class _Rule:
    intent: Intent
    name: str
    pattern: re.Pattern[str]


_POLITE = (
    r"(?:(?:hi|hey|hello|ok|okay|so|now|and|also|then|well)[,\s]+)?"
    r"(?:(?:please|kindly|just)\s+|"
    r"(?:can|could|would|will) you (?:please |kindly )?|i(?:'d| would) like (?:you )?to\s+|"
    r"i (?:want|need) (?:you )?to\s+|let's\s+|help me (?:to )?)*"
)
_ZH_POLITE = (
    r"(?:请你?|請你?|麻烦你?|麻煩你?|帮我|幫我|你?能不能|可以|能否|给我|給我|我想要?|把|将|將|"
    r"一下|都|再|先)*"
)
_THAT = (
    r"(?:\s+to self\b)?(?:\s+(?:down\s+)?(?:(?:the fact )?that|for (?:me|later)|this(?=\s*:)|:))?"
    r"[\s:,]*"
)
_THING = (
    r"(?:memor(?:y|ies)|notes?|entr(?:y|ies)|records?|facts?|preferences?|information|"
    r"data|everything|what|that|this|it|all|the|my|any|about)"
)


def _starts(intent: Intent, name: str, words: str) -> _Rule:
    return _Rule(intent, name, re.compile(rf"\s*(?P<command>{_POLITE}(?:{words}))", re.I))


def _anywhere(intent: Intent, name: str, words: str) -> _Rule:
    return _Rule(intent, name, re.compile(words, re.I))


# The first that matches decides, so that "don't forget" is tried before "forget".
_ENGLISH: tuple[_Rule, ...] = (
    _starts(
        Intent.ADD,
        "don't forget",
        r"(?:do not|don't|never) forget(?: (?:that|to remember))?(?=\s+\w)\s*",
    ),
    _starts(
        Intent.ADD,
        "remember",
        r"(?:remember|memori[sz]e|keep in mind|bear in mind|make a note|take a note|"
        r"note(?=\s+(?:that|down|to self|the|my|this)\b|\s*:))\b"
        rf"(?!\s+(?:when|what|how|why|where|who|the time|the day|me\b|us\b|if|whether))"
        rf"(?: of)?{_THAT}(?=\S)",
    ),
    _starts(
        Intent.ADD,
        "store",
        r"(?:(?:save|store|record|log)(?=\s+(?:that|this|it|the|my|our|an?|in memory)\b|\s*:)|"
        r"jot down|write down|add(?!\s+up\b))\b"
        rf"(?:\s+(?:a |this |the )?(?:new )?(?:memory|note|fact|entry|preference)\b)?{_THAT}(?=\S)",
    ),
    _starts(Intent.ADD, "standing instruction", r"(?=(?:from now on|going forward)\b)"),
    _starts(
        Intent.DELETE,
        "delete",
        r"(?:delete|erase|purge|wipe|get rid of|discard)\s+(?=\S)|"
        rf"(?:forget|remove|clear|drop)\s+(?={_THING}\b)",
    ),
    _starts(
        Intent.DELETE,
        "stop remembering",
        r"(?:stop remembering|no longer remember|don't remember|do not remember)\s+(?=\S)",
    ),
    _starts(
        Intent.UPDATE,
        "update",
        r"(?:update|correct|edit|revise|amend|modify|rename)\s+(?=\S)|"
        r"(?:change|replace|set(?!\s+up\b))\s+(?=.{1,200}?\b(?:to|with|by|from|into)\b)",
    ),
    _starts(
        Intent.SHARE,
        "share",
        r"(?:share|publish)\s+(?=\S)|"
        r"(?:give|grant|revoke)\s+(?=.{1,80}?\b(?:access|permission)\b)|"
        r"make\s+(?=.{1,80}?\b(?:public|visible|shared|available)\b)|"
        r"(?:send|forward)\s+(?=.{1,80}?\b(?:memory|memories|notes?)\b.{0,80}?\bto\b)",
    ),
    _anywhere(
        Intent.AUDIT,
        "who touched it",
        r"\bwho (?:has |have |had )?(?:accessed|read|viewed|seen|changed|edited|modified|deleted|"
        r"created|wrote|written|updated|used|shared)\b.{0,40}?\b(?:this|that|these|those|the|my|our)\s+"
        r"(?:\w+\s+)?(?:memor(?:y|ies)|notes?|entr(?:y|ies)|records?|cubes?|namespace)\b",
    ),
    _anywhere(
        Intent.AUDIT,
        "where known from",
        r"\b(?:how do you know|where did you (?:learn|get|hear|find)|what makes you (?:think|say)|"
        r"why do you (?:think|believe|say|remember))\b",
    ),
    _anywhere(
        Intent.AUDIT,
        "history of a memory",
        r"\b(?:audit|provenance|lineage|access log|change ?log|access history|version history|"
        r"edit history|history of (?:this|that|the|my) (?:memory|note|entry|record|fact))\b|"
        r"\b(?:which|what) memor(?:y|ies) (?:was|were|did you) use\b|"
        r"\b(?:which|what) memor(?:y|ies) (?:was|were) used\b",
    ),
    _starts(
        Intent.SUMMARISE,
        "summarise",
        r"(?:summari[sz]e|recap|sum up|condense)\s+(?=\S)|"
        r"(?:give|write|show|get|make|prepare)\s+(?:me\s+)?(?:an?\s+|the\s+)?(?:\w+\s+){0,2}?"
        r"(?:summary|overview|recap|digest|rundown)\s+(?:of|on|about)\s+",
    ),
    _anywhere(
        Intent.SUMMARISE,
        "summary asked",
        r"\b(?:summari[sz]e|(?:an?|the|quick|brief|short) (?:summary|overview|recap) of|tl;?dr|"
        r"key points|main points)\b",
    ),
    _starts(Intent.COMPARE, "compare", r"(?:compare|contrast)\s+(?=\S)"),
    _anywhere(
        Intent.COMPARE,
        "difference",
        r"\b(?:differences? between|compared? (?:to|with)|in comparison|versus|vs\.?|"
        r"(?:how|what) (?:do|does|did|is|are|has|have) .{1,80}? (?:differ|different from)|"
        r"what(?:'s| has| is)? (?:changed|different) (?:between|since)|in common)(?!\w)",
    ),
    _starts(
        Intent.LIST,
        "list",
        r"(?:list|enumerate|itemi[sz]e)\s+(?:out\s+)?(?=\S)|"
        r"(?:show|give|display|get|fetch|print)\s+(?:me\s+|us\s+)?"
        r"(?=(?:all|every|my|our|the (?:last|latest|top|first|most recent|\d+)|top \d+|"
        r"(?:last|latest|recent) |\d+ |everything)\b)",
    ),
    _anywhere(
        Intent.LIST,
        "which memories",
        r"\b(?:what|which) (?:memories|notes|facts|preferences|records) (?:do|are|have)\b|"
        r"\bwhat do you (?:remember|know) about me\b",
    ),
)


def _zh_starts(intent: Intent, name: str, words: str) -> _Rule:
    return _Rule(intent, name, re.compile(rf"\s*(?P<command>{_ZH_POLITE}(?:{words}))"))


_CHINESE: tuple[_Rule, ...] = (
    _zh_starts(
        Intent.ADD, "别忘", r"(?:别|不要|不要再|別)(?:忘了|忘记|忘記)(?=.)[,\uff0c:\uff1a\s]*"
    ),
    _zh_starts(
        Intent.ADD,
        "记住",
        r"(?:记住|記住|记得(?!.{0,40}?[吗嗎\uff1f?])|记一下|記一下|记下来?|記下來?|"
        r"记录一?下?|記錄一?下?|"
        r"保存一?下?|存一下|存储|添加一?条?|新增一?条?|备忘|写入)"
        r"(?:[:\uff1a,\uff0c\s]|这[件条个][事]?|這[件條個][事]?)*(?=\S)",
    ),
    _zh_starts(
        Intent.ADD, "以后都", r"(?=(?:以后|以後|从现在起|從現在起|今后|今後)(?:请|都|不要|每次))"
    ),
    _zh_starts(
        Intent.DELETE,
        "删除",
        r"(?:删除|刪除|删掉|刪掉|清除|清空|移除|抹掉|忘掉|忘了(?=我|这|那|有关|关于)|"
        r"忘记(?=我|这|那|有关|关于)|不要再?记)",
    ),
    _Rule(
        Intent.DELETE,
        "把…删",
        re.compile(r"[把将將].{1,60}?(?:删除|删掉|刪除|刪掉|清除|忘掉|移除)"),
    ),
    _zh_starts(Intent.UPDATE, "更新", r"(?:更新|修改|更正|订正|纠正|編輯|编辑)一?下?"),
    _Rule(
        Intent.UPDATE,
        "改成",
        re.compile(r"(?:改成|改为|改為|换成|換成|更新为|更新成|修改为|更正为)"),
    ),
    _zh_starts(Intent.SHARE, "分享", r"(?:分享|共享(?!的)|授权|授權|公开|公開)"),
    _Rule(
        Intent.SHARE,
        "分享给",
        re.compile(
            r"(?:分享|共享|授权|授權|公开|公開|开放)(?:给|給)|让.{1,20}?(?:访问|看到)(?:我|这)"
        ),
    ),
    _Rule(
        Intent.AUDIT,
        "谁动过",
        re.compile(
            r"谁(?:访问|查看|看|读|修改|改|删除|创建|写|更新|用)[了过].{0,20}?(?:记忆|笔记|"
            r"记录|条目|信息)|"
            r"(?:记忆|笔记|记录|条目).{0,20}?(?:被谁|是谁)|审计|訪問記錄|访问记录|访问日志|"
            r"修改历史|"
            r"历史版本|出处|记忆.{0,6}来源|你(?:是)?(?:怎么|从哪里?|为什么会?)(?:知道|得知|"
            r"认为|记得)"
        ),
    ),
    _zh_starts(Intent.SUMMARISE, "总结", r"(?:总结|總結|概括|归纳|歸納|概述|小结|汇总)一?下?"),
    _Rule(
        Intent.SUMMARISE,
        "总结",
        re.compile(r"(?:总结|總結|概括|归纳|概述|小结|摘要|汇总)(?:一下|出|$|[\uff1f?。.])"),
    ),
    _zh_starts(Intent.COMPARE, "比较", r"(?:比较|比較|对比|對比)一?下?(?!好|多|喜欢)"),
    _Rule(
        Intent.COMPARE,
        "区别",
        re.compile(
            r"(?:有什么|有何|有哪些|的)(?:区别|區別|不同|差异|差別|差别|变化)|相比|共同点|哪个更"
        ),
    ),
    _zh_starts(
        Intent.LIST,
        "列出",
        r"(?:列出|列举|列舉|罗列|列一下|返回(?=所有|全部|我)|显示(?=所有|全部|我|最)|"
        r"展示(?=所有|全部|我|最)|"
        r"查看(?=所有|全部|我的))",
    ),
    _Rule(Intent.LIST, "哪些记忆", re.compile(r"(?:哪些|什么|所有)的?(?:记忆|笔记|备忘)")),
)

_ENGLISH_QUESTION = re.compile(
    r"\s*(?:what|when|where|who|whom|whose|which|why|how|is|are|was|were|do|does|did|has|have|had|"
    r"can|could|will|would|should)\b|.*\?\s*$",
    re.I | re.S,
)
_CHINESE_QUESTION = re.compile(
    r"[吗嗎呢\uff1f?]\s*$|什么|什麼|怎么|怎麼|哪|谁|誰|几|多少|为何|是否|有没有|如何"
)
_LOOK_UP = re.compile(
    rf"\s*(?P<command>{_POLITE}(?:search(?: for)?|find|look up|retrieve|recall|tell me|"
    rf"show me)\s+)(?=\S)",
    re.I,
)
_CHINESE_LOOK_UP = re.compile(
    rf"\s*(?P<command>{_ZH_POLITE}(?:查找|查询|查詢|查一下|搜索|搜一下|检索|找一下|找出|"
    rf"告诉我|告訴我|回忆一?下?))"
)
# A rule needs no more than this; a pasted document is not searched for commands.
_HEAD_CHARS = 400


def find_intent(text: str, language: str) -> IntentFound:
    """Finds the intent; a plain question or phrase is to be retrieved."""
    head = text[:_HEAD_CHARS]
    chinese = language in {"zh", "ja"}
    for one in _CHINESE if chinese else _ENGLISH:
        match = one.pattern.match(head) if "command" in one.pattern.groupindex else None
        if match is not None:
            return IntentFound(one.intent, _EXPLICIT, one.name, match.span("command"))
        if "command" not in one.pattern.groupindex and one.pattern.search(head):
            return IntentFound(one.intent, _QUESTION, one.name)
    look_up = (_CHINESE_LOOK_UP if chinese else _LOOK_UP).match(head)
    if look_up is not None:
        return IntentFound(Intent.RETRIEVE, _EXPLICIT, "look up", look_up.span("command"))
    question = _CHINESE_QUESTION.search(head) if chinese else _ENGLISH_QUESTION.match(head)
    if question is not None:
        return IntentFound(Intent.RETRIEVE, _QUESTION, "question")
    return IntentFound(Intent.RETRIEVE, _DEFAULT, "nothing else fits")
