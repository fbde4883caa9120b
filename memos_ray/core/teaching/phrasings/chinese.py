"""Chinese phrasings of what people have remembered."""

from __future__ import annotations

from memos_ray.core.cube.metadata import SemanticType
from memos_ray.core.teaching.phrasing import Phrasing, PhrasingSet

_FACT, _PREFERENCE, _EVENT = SemanticType.FACT, SemanticType.PREFERENCE, SemanticType.EVENT
_EPISODE, _PROCEDURE, _SKILL = (
    SemanticType.EPISODE,
    SemanticType.PROCEDURE,
    SemanticType.SKILL,
)
_TASK, _DOCUMENT = SemanticType.TASK_PROMPT, SemanticType.DOCUMENT

CHINESE = PhrasingSet(
    language="zh",
    phrasings=(
        Phrasing(
            "home",
            ("{subject}住在{value}。", "{subject}的家在{value}。", "{subject}搬到了{value}。"),
            (
                "{subject}住在哪里?",
                "{subject}的家在哪里?",
                "{subject}住在什么地方?",
                "请告诉我{subject}住在哪里。",
            ),
            types=(_FACT, _EPISODE),
            values=("南京", "成都", "海边的小镇", "老城区"),
        ),
        Phrasing(
            "favourite",
            ("{subject}最喜欢的{attribute}是{value}。",),
            (
                "{subject}最喜欢的{attribute}是什么?",
                "{subject}最爱哪种{attribute}?",
                "哪一种{attribute}最合{subject}的心意?",
                "请告诉我{subject}最喜欢的{attribute}。",
            ),
            types=(_FACT, _PREFERENCE, _EPISODE),
            values=("蓝色", "安静的那个", "最旧的", "第七号"),
        ),
        Phrasing(
            "dislike",
            ("{subject}不喜欢{value}。", "{subject}讨厌{value}。"),
            (
                "{subject}不喜欢什么?",
                "{subject}讨厌什么?",
                "什么会让{subject}不高兴?",
                "请告诉我{subject}不喜欢什么。",
            ),
            types=(_FACT, _PREFERENCE, _EPISODE),
            values=("香菜", "吵闹的音乐", "开长会", "早班飞机"),
        ),
        Phrasing(
            "like",
            ("{subject}喜欢{value}。", "{subject}爱{value}。"),
            (
                "{subject}喜欢什么?",
                "{subject}爱什么?",
                "什么会让{subject}高兴?",
                "请告诉我{subject}喜欢什么。",
            ),
            types=(_FACT, _PREFERENCE, _EPISODE),
            values=("绿茶", "靠窗的座位", "老电影", "简短的回答"),
        ),
        Phrasing(
            "allergy",
            ("{subject}对{value}过敏。",),
            (
                "{subject}对什么过敏?",
                "什么会让{subject}过敏?",
                "{subject}有什么过敏?",
                "请告诉我{subject}对什么过敏。",
            ),
            types=(_FACT, _PREFERENCE),
            values=("花生", "花粉", "青霉素", "羊毛"),
        ),
        Phrasing(
            "employer",
            ("{subject}在{value}工作。", "{subject}在{value}上班。"),
            (
                "{subject}在哪里工作?",
                "{subject}在哪里上班?",
                "{subject}的工作单位是哪里?",
                "请告诉我{subject}在哪里工作。",
            ),
            types=(_FACT, _EPISODE),
            values=("邮局", "面包店", "港口", "银行"),
        ),
        Phrasing(
            "instruction",
            ("要{subject},{value}。", "如何{subject}:{value}。", "{subject}的方法:{value}。"),
            (
                "如何{subject}?",
                "怎样才能{subject}?",
                "{subject}需要哪些步骤?",
                "请告诉我如何{subject}。",
            ),
            types=(_PROCEDURE, _SKILL, _TASK, _DOCUMENT),
            values=("同时按下两个按钮", "先问办公室", "等绿灯亮"),
        ),
        Phrasing(
            "property",
            ("{subject}的{attribute}是{value}。",),
            (
                "{subject}的{attribute}是什么?",
                "{subject}有什么样的{attribute}?",
                "什么是{subject}的{attribute}?",
                "请告诉我{subject}的{attribute}。",
            ),
            values=("四个", "木头做的", "没有登记", "在左边"),
        ),
    ),
    subjects=("小林", "阿梅", "老周", "小贺", "陶然", "阿宁", "老何", "小曼", "江一", "方舟"),
    completions={
        kind: (
            f"补全这{name}:{{beginning}}",
            f"这{name}接下来是什么?{{beginning}}",
            f"以此开头的{name[1:]}是:{{beginning}}",
        )
        for kind, name in (
            (_FACT, "条知识"),
            (_PREFERENCE, "条偏好"),
            (_EPISODE, "段谈话"),
            (_EVENT, "个事件"),
            (_TASK, "项任务"),
            (_PROCEDURE, "个步骤"),
            (_DOCUMENT, "段文字"),
            (_SKILL, "项技能"),
        )
    },
)
