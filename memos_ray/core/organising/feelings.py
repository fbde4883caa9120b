"""Words by which a text shows a feeling, or that it is not sure of what it says.

Small lists of our own for English, German and Chinese: they know the common words of everyday
talk, and neither irony nor the words of a trade.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from memos_ray.core.retrieval.text import fold, is_unspaced, split_words

_GOOD = frozenset(
    """
    good great nice lovely wonderful amazing awesome excellent fantastic brilliant perfect happy
    glad delighted pleased excited thrilled joy joyful love loved loves loving enjoy enjoyed enjoys
    fun funny beautiful best better success successful succeeded win won proud grateful thankful
    thanks relieved relaxed calm peaceful hope hopeful inspired inspiring favorite favourite yay
    celebrate celebrated comfortable delicious kind smile laugh laughed
    gut gute guter gutes toll super schön schöne schöner wunderbar großartig prima perfekt glücklich
    froh freue freut freude begeistert liebe liebt geliebt spaß lustig erfolg erfolgreich gewonnen
    stolz dankbar danke erleichtert entspannt ruhig hoffnung lieblings lecker herrlich genossen
    """.split()
)
_BAD = frozenset(
    """
    bad awful terrible horrible worst worse sad unhappy upset angry annoyed annoying furious hate
    hated hates afraid scared scary fear worried worry worries anxious stress stressed stressful
    lonely tired exhausted sick ill hurt hurts pain painful cry cried crying lost lose failed fail
    failure broken broke problem problems trouble wrong disappointed disappointing regret sorry
    boring bored difficult struggle struggling died death grief frustrated frustrating unfair
    schlecht schlechte schrecklich furchtbar schlimm traurig wütend ärgerlich ärger hasse hasst
    angst sorge sorgen besorgt gestresst stress einsam müde erschöpft krank schmerz schmerzen
    weh geweint
    verloren gescheitert kaputt problem probleme falsch enttäuscht bereue leider langweilig
    schwierig gestorben tod trauer frustriert elend
    """.split()
)
_DENIALS = frozenset(
    """
    not no never without hardly don didn doesn isn wasn aren weren won't can't cannot couldn
    nicht kein keine keinen nie niemals ohne kaum
    """.split()
)
_UNSURE = frozenset(
    """
    maybe perhaps possibly probably might apparently supposedly allegedly rumour rumor guess unsure
    seems roughly presumably
    vielleicht möglicherweise wahrscheinlich angeblich vermutlich anscheinend ungefähr glaube denke
    """.split()
)
_UNSURE_PHRASES = (
    *("i think", "i believe", "i heard", "not sure", "as far as i", "ich glaube", "nicht sicher"),
    *(
        "habe gehört",
        "soweit ich",
        "可能",
        "也许",
        "大概",
        "好像",
        "听说",
        "据说",
        "应该是",
        "不确定",
    ),
)
_GOOD_CHINESE = re.compile(
    "高兴|开心|快乐|喜欢|喜爱|热爱|满意|幸福|成功|优秀|漂亮|美丽|感谢|感动|兴奋|骄傲|放心|舒服|有趣|精彩|"
    "太好|很好|真好|好吃|恭喜|祝贺|期待|赞"
)
_BAD_CHINESE = re.compile(
    "难过|伤心|痛苦|生气|愤怒|讨厌|害怕|担心|焦虑|压力|孤独|累|生病|失败|糟糕|失望|后悔|遗憾|麻烦|问题|无聊|"
    "哭|疼|坏了|倒霉|可怕|难受|去世"
)
_CHINESE_DENIALS = ("不", "没", "别", "无")
_REACH = 3


@dataclass(frozen=True, slots=True)
class Feelings:
    """How many words of a text are glad, and how many are not; whether it is unsure of itself."""

    good: int
    bad: int
    unsure: bool


def feelings(text: str) -> Feelings:
    """Counts; a denial up to three words before turns a word round ("not happy", "不高兴")."""
    folded = fold(text)
    good = bad = 0
    words = split_words(folded)
    for place, word in enumerate(words):
        if word not in _GOOD and word not in _BAD:
            continue
        denied = not _DENIALS.isdisjoint(words[max(0, place - _REACH) : place])
        if (word in _GOOD) != denied:
            good += 1
        else:
            bad += 1
    if not folded.isascii() and any(map(is_unspaced, words)):
        for pattern, pleasant in ((_GOOD_CHINESE, True), (_BAD_CHINESE, False)):
            for met in pattern.finditer(folded):
                before = folded[max(0, met.start() - 2) : met.start()]
                if pleasant != any(sign in before for sign in _CHINESE_DENIALS):
                    good += 1
                else:
                    bad += 1
    unsure = not _UNSURE.isdisjoint(words) or any(one in folded for one in _UNSURE_PHRASES)
    return Feelings(good, bad, unsure)
