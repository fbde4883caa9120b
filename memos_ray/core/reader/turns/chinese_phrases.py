"""Who, what, where and when a Chinese text speaks of, without cutting it into words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from memos_ray.core.reader.query.call import EntityKind
from memos_ray.core.reader.query.entities import entity_spans

_HAN = r"[\u4e00-\u9fff]"
_SURNAMES = (
    "王李张陈刘杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾"
    "丁魏薛叶阎余潘杜戴夏钟汪田任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤"
    "尹黎易常武乔贺赖龚文庞樊兰殷施陶洪翟安颜倪严牛温芦季俞章鲁葛伍韦申尤毕聂丛焦向柳邢路岳齐梅"
    "莫庄辛管祝左涂谷祁耿牟卜游穆闻闵岑骆霍欧麦柯凌包费纪舒屈项盛"
    "張劉陳楊趙黃吳孫馬羅鄭謝韓馮許葉蘇盧蔣賈鄧蕭呂鍾陸龔聞"
)
_BEFORE = (
    r"(?:^|(?<=[\s,\uff0c。.?\uff1f!\uff01、:\uff1a;\uff1b\"\u201c和跟与與给給对對问問叫找见見帮请"
    r"請把被让讓由从陪带送替像是那]))"
)
_AFTER = (
    r"(?=$|[\s,\uff0c。.?\uff1f!\uff01、:\uff1a的说說是在去有和跟与與对對上昨今前最什哪喜爱愛住买買来來"
    r"想要做吃会會过過吗嗎呢提讨打养學学送收换搬种租考修找得也还就又没不到先后自家几多何怎为能可该需决"
    r"开接被把给叫觉认跑起带挑拿告为生临第一两三现当以从用写画弹唱拉教种放出回进请病受怀结离退弄摔碰])"
)
_NAME = re.compile(rf"{_BEFORE}((?:欧阳|司马|上官|诸葛|慕容|[{_SURNAMES}]){_HAN}{{1,2}}?){_AFTER}")
_NICK = re.compile(rf"{_BEFORE}([小阿老]{_HAN}|({_HAN})\2){_AFTER}")
_NOT_NAMES = frozenset(
    """高兴 方便 方法 方案 方面 方向 马上 周末 周年 周围 周边 周期 周一 周二 周三 周四 周五
    周六 周日 常常 常用 常见 平时 成都 石头 江苏 江西 文件 文章 文档 文化 文字 文学 武汉
    康复 钱包 毛病 毛衣 毛巾 夏天 夏季 何时 何地 何处 何人 何况 谢谢 黄色 黄金 黄山 黄河
    林业 叶子 余下 雷雨 田地 范围 马路 曾经 苏州 郑州 杭州 温度 程序 程度 金额 金钱 白天
    白色 安全 安排 任务 任何 向来 路上 严重 严格 于是 易于 万一 包括 项目 左右 管理 游泳
    盛大 闻名 老师 老家 老板 老婆 老公 老人 小时 小说 小学 小组 小心 小孩 小吃 小朋友 小狗
    小猫 老年 老爷 常年 时候 天天 刚刚 等等 看看 想想 说说 人人 渐渐 慢慢 偏偏 仅仅 往往
    刚才 明明 听听 试试 谈谈 聊聊 妈妈 爸爸 哥哥 姐姐 弟弟 妹妹 爷爷 奶奶 叔叔 伯伯 姑姑
    舅舅 宝宝 太太 单单 白白 真真 多多 好好 早早 远远 高高 大大 小小 年年 月月 星星 猩猩
    饽饽 馍馍 娃娃 公公 婆婆 宋代 唐代 唐朝 宋朝 明代 石油 江南 江河 马桶 于今 文具 温泉
    白菜 牛肉 牛奶 梅花 兰花 路程 路线 金鱼 柳树 庄园 章节 毕业 毕竟 安静 安装 向日 施工
    包裹 费用 纪念 纪录 舒服 屈服""".split()
)
_WOMEN = (
    "妈妈|母亲|妈|娘|妹妹|姐姐|奶奶|外婆|姥姥|女儿|孙女|妻子|老婆|太太|媳妇|女友|女朋友|"
    "阿姨|姑姑|姨妈|婶婶|侄女|外甥女|妹|姐"
)
_MEN = (
    "爸爸|父亲|爸|爹|哥哥|弟弟|爷爷|外公|姥爷|儿子|孙子|丈夫|老公|男友|男朋友|叔叔|舅舅|"
    "伯伯|姑父|侄子|外甥|哥|弟"
)
_OTHERS = "同事|老师|朋友|老板|邻居|同学|室友|医生|教练|房东|孩子|师傅|领导|经理|搭档|客户|学生"
# A turn speaks of a handful of people; a pasted list would name hundreds.
_MOST_PERSONS = 32
KIN = re.compile(rf"(?P<f>{_WOMEN})|(?P<m>{_MEN})|(?P<other>{_OTHERS})")
_PLACE = re.compile(
    rf"(?:在|去|到|从|往|回|来自|搬到|搬去|飞往|前往)(?P<place>{_HAN}{{2,4}}?(?:市|省|县|馆|店|院|校|园|站|场|局|厂|"
    rf"山|湖|海|岛|村|镇|区|路|街|楼|厅|房|家|室)?)"
    r"(?=[\s,\uff0c。.?\uff1f!\uff01、的了过做学住玩工吃买上进出待开参旅见打干种找租跟和当读教看度]|$)"
)
_NOT_PLACES = re.compile(
    r"^(?:哪|那|这|什么|家里|一起|什|几|多|年|月|今|明|昨|以|之|其|他|她|我|你)|时候|年$|月$|天$|[吗呢]$"
)
_THING_END = (
    r"(?=[\s,\uff0c。.?\uff1f!\uff01、的了是在什哪怎为多几到有被叫坏放要会能最原先后起丢卖送修换花用应给找"
    r"当本一上下从由没还也打主]|$)"
)
_MEASURED = re.compile(
    rf"(?:[一两二三四五六七八九十几那这]|\d+)[个只条部台辆本张把件架座间家头匹枝支棵颗盒套双篇首封份项场次节株](?P<thing>{_HAN}{{1,8}}?)"
    r"(?=[\s,\uff0c。.?\uff1f!\uff01、了是在什哪怎为多几有被]|$)"
)
_TITLED = re.compile(r"[《「『][^》」』\n]{1,40}[》」』]")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody, where a text names them; `gender` is `f` or `m` where that shows."""

    begin: int
    end: int
    text: str
    gender: str | None = None


def names_of(text: str) -> tuple[str, ...]:
    """Returns the names that a text makes known."""
    return tuple(dict.fromkeys(islice(_names(text), _MOST_PERSONS)))


def is_name(words: str) -> bool:
    """Tells whether words as they stand look like somebody's name."""
    return words not in _NOT_NAMES and (
        _NAME.fullmatch(words) is not None or _NICK.fullmatch(words) is not None
    )


def _names(text: str) -> Iterator[str]:
    for pattern in (_NAME, _NICK):
        for match in pattern.finditer(text):
            name = match[1]
            if name not in _NOT_NAMES and name[:2] not in _NOT_NAMES and not KIN.fullmatch(name):
                yield name
    for _, _, entity in entity_spans(text, ()):
        if entity.kind is not EntityKind.QUOTED:
            yield entity.text


def persons(text: str, names: Sequence[str]) -> list[Person]:
    """Returns the persons that a text names; kin by their whole name ("苏禾的妹妹")."""
    found: list[Person] = []
    for name in names:
        begin = text.find(name)
        while begin >= 0 and len(found) < _MOST_PERSONS:
            end = begin + len(name)
            if all(end <= one.begin or one.end <= begin for one in found):
                found.append(_with_kin(text, begin, end))
            begin = text.find(name, end)
    found.sort(key=lambda one: one.begin)
    return found


def _with_kin(text: str, begin: int, end: int) -> Person:
    kin = KIN.match(text, end + 1) if text[end : end + 1] == "的" else KIN.match(text, end)
    if kin is None:
        return Person(begin, end, text[begin:end], _gender_after(text, end))
    gender = "f" if kin["f"] else "m" if kin["m"] else None
    return Person(begin, kin.end(), text[begin : kin.end()], gender)


def _gender_after(text: str, end: int) -> str | None:
    sentence = re.split(r"[。\uff01\uff1f!?]", text[end : end + 40], maxsplit=1)[0]
    found = re.search(r"(?<![其吉])[他她](?!们)", sentence)
    return None if found is None else "m" if found[0] == "他" else "f"


def place_in(text: str) -> tuple[int, int, str] | None:
    """Returns the last place that a text puts something in."""
    found = None
    for match in _PLACE.finditer(text):
        words = match["place"]
        if not _NOT_PLACES.search(words):
            found = (*match.span("place"), words)
    return found


def things_in(text: str, names: Sequence[str]) -> list[tuple[int, int, str]]:
    """Returns things: titles, "苏禾的猫", "一只黑猫"."""
    found = [(*match.span(), match[0]) for match in _TITLED.finditer(text)]
    owned = "|".join(map(re.escape, names))
    owners = rf"(?:{owned}|我|他|她)" if owned else "(?:我|他|她)"
    found += [
        (*match.span(), match[0])
        for match in re.finditer(rf"{owners}家?的(?P<thing>{_HAN}{{1,6}}?){_THING_END}", text)
        if not KIN.fullmatch(match["thing"])
    ]
    found += [(*match.span("thing"), match["thing"]) for match in _MEASURED.finditer(text)]
    return sorted(found)
