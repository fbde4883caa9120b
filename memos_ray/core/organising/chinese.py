"""Chinese statements."""

from __future__ import annotations

import re
from collections.abc import Iterator

from memos_ray.core.organising.slots import CUES, RELATIONSHIP, RESIDENCE, STATUS, WORK, Filled

_NOT_NOW = re.compile(
    r"不在|没有|没|曾经|以前|从前|原来|过去|想要?|打算|计划|如果|要是|可能|也许|希望|将要?|准备|会不会|是否|吗"
)
_WHO = r"(?P<subject>我们|我|(?:我的?)?[\u4e00-\u9fff]{2,4}?)?"
_NOW = r"(?P<now>现在|目前|最近|刚刚?|已经|已|终于)?"
_VALUE = r"(?P<value>[\w·]{1,20}?)"
_END = r"(?=了?(?:[\uff0c,。.\uff01!、\uff1b;\s]|$))"
_LIVES = re.compile(rf"(?:^|[\uff0c,。\s]){_WHO}{_NOW}(?:住在|定居在?|居住在){_VALUE}{_END}")
_MOVED = re.compile(
    rf"(?:^|[\uff0c,。\s]){_WHO}{_NOW}(?:从[\u4e00-\u9fff]{{1,10}})?(?:搬家?到了?|搬去了?|移居到?了?){_VALUE}{_END}"
)
_WORKS = re.compile(rf"(?:^|[\uff0c,。\s]){_WHO}{_NOW}在{_VALUE}(?:工作|上班|任职){_END}")
_JOINED = re.compile(rf"(?:^|[\uff0c,。\s]){_WHO}{_NOW}(?:入职了?|跳槽到了?|加入了){_VALUE}{_END}")
_RELATED = re.compile(rf"(?:^|[\uff0c,。\s]){_WHO}{_NOW}(?P<value>单身|结婚|订婚|离婚){_END}")
_FAVOURITE = re.compile(
    rf"(?:^|[\uff0c,。\s]){_WHO}(?P<now>现在)?最喜欢的(?P<slot>[\u4e00-\u9fff]{{1,6}}?)(?:是|变成了?){_VALUE}{_END}"
)
_NOUN = (
    r"电话|手机号码?|邮箱|地址|生日|密码|预算|截止日期|截止时间|价格|版本|职位|老板|经理|医生|"
    r"学校|办公室|会议时间|座位号?|房间号?|航班"
)
_ATTRIBUTE = re.compile(
    rf"(?:^|[\uff0c,。\s])(?:(?P<subject>[\u4e00-\u9fff\w]{{1,10}}?)的)?(?P<new>新)?(?P<slot>{_NOUN})"
    rf"(?P<now>现在)?(?:(?P<then>改到|改成|改为|变成|换成|推迟到|提前到)了?|是){_VALUE}{_END}"
)
_STATE = re.compile(
    rf"(?:^|[\uff0c,。\s])(?P<subject>[\u4e00-\u9fff\w]{{2,12}}?){_NOW}"
    rf"(?P<value>完成|取消|推迟|暂停|上线|批准|通过|关闭|延期){_END}"
)
_LIKES = re.compile(
    rf"(?:^|[\uff0c,。\s]){_WHO}{_NOW}(?<!最)(?P<no>不再喜欢|不喜欢|讨厌|喜欢|爱)(?P<value>[\w]{{1,10}}?){_END}"
)
_PREDICATES = (
    (_LIVES, RESIDENCE, 0.85, False),
    (_MOVED, RESIDENCE, 0.95, True),
    (_WORKS, WORK, 0.75, False),
    (_JOINED, WORK, 0.85, True),
    (_RELATED, RELATIONSHIP, 0.9, False),
)


def read(sentence: str) -> Iterator[Filled]:
    """Yields the statements of a sentence."""
    for match in _LIKES.finditer(sentence):
        about, said = match["value"], match["no"]
        value = "likes" if said in ("喜欢", "爱") else "dislikes"
        changed = said == "不再喜欢" or bool(match["now"])
        cues = ((about,),)
        yield Filled(match["subject"] or "", f"opinion of {about}", value, changed, 0.85, cues)
    if _NOT_NOW.search(sentence):
        return
    for pattern, slot, sure, changes in _PREDICATES:
        for match in pattern.finditer(sentence):
            changed = changes or bool(match["now"])
            yield Filled(match["subject"] or "", slot, match["value"], changed, sure, CUES[slot])
    for match in _FAVOURITE.finditer(sentence):
        rivals = (("最喜欢", match["slot"]),)
        slot = f"最喜欢的{match['slot']}"
        changed = bool(match["now"])
        yield Filled(match["subject"] or "", slot, match["value"], changed, 0.85, rivals)
    for match in _ATTRIBUTE.finditer(sentence):
        changed = bool(match["new"] or match["now"] or match["then"])
        cues = ((match["slot"],),)
        subject = match["subject"] or ""
        # What is nobody's may be that of anything.
        sure = 0.85 if subject else 0.6
        yield Filled(subject, match["slot"], match["value"], changed, sure, cues)
    for match in _STATE.finditer(sentence):
        cues = ((match["subject"],),)
        yield Filled(match["subject"], STATUS, match["value"], bool(match["now"]), 0.85, cues)
