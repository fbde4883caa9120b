"""Predicted tags: guesses with their reasons."""

from __future__ import annotations

import pytest

from memos_ray.core.cube.metadata import Origin, SemanticType
from memos_ray.core.cube.predicted import Predicted, Sentiment, Source
from memos_ray.core.organising.feelings import feelings
from memos_ray.core.organising.predicting import predict, sentiment_of, source_of


@pytest.mark.parametrize(
    ("text", "mood"),
    [
        ("What a wonderful day, I am so happy!", Sentiment.POSITIVE),
        ("I am not happy with the hotel.", Sentiment.NEGATIVE),
        ("It wasn't bad at all.", Sentiment.POSITIVE),
        ("The train leaves at nine.", Sentiment.NEUTRAL),
        ("Das Konzert war wunderbar.", Sentiment.POSITIVE),
        ("Ich bin nicht zufrieden, es war schrecklich.", Sentiment.NEGATIVE),
        ("我今天很开心", Sentiment.POSITIVE),
        ("她对结果很失望", Sentiment.NEGATIVE),
        ("我不喜欢这个", Sentiment.NEGATIVE),
        ("会议在三点", Sentiment.NEUTRAL),
        ("", Sentiment.NEUTRAL),
    ],
)
def test_OPER_1_the_feeling_that_a_text_shows(text: str, mood: Sentiment) -> None:
    assert sentiment_of(feelings(text)) is mood


@pytest.mark.parametrize(
    ("text", "unsure"),
    [
        ("Maybe she moved to Rome.", True),
        ("Vielleicht kommt er morgen.", True),
        ("听说他搬家了", True),
        ("She moved to Rome.", False),
    ],
)
def test_OPER_1_whether_a_text_is_sure_of_itself(text: str, unsure: bool) -> None:
    assert feelings(text).unsure is unsure


@pytest.mark.parametrize(
    ("facets", "source"),
    [
        ({"origin": Origin.USER_INPUT.value}, Source.USER),
        ({"origin": Origin.USER_INPUT.value, "role": "assistant"}, Source.ASSISTANT),
        ({"origin": Origin.IMPORT.value}, Source.IMPORT),
        ({"origin": Origin.IMPORT.value, "role": "user"}, Source.USER),
        ({"origin": Origin.RETRIEVAL.value}, Source.EXTERNAL),
        ({"origin": Origin.INFERENCE.value, "role": "user"}, Source.MODEL),
        ({"semantic_type": SemanticType.DOCUMENT.value}, Source.DOCUMENT),
    ],
)
def test_OPER_1_where_a_memory_comes_from(facets: dict[str, str], source: Source) -> None:
    found, why = source_of(facets)
    assert found is source and why


def test_OPER_1_guesses_name_their_model_and_their_reasons() -> None:
    facets = {"origin": Origin.INFERENCE.value}
    tags = {one.kind: one for one in predict("Perhaps it was great fun.", facets)}
    assert set(tags) == set(Predicted) - {Predicted.TOPIC}
    credibility = tags[Predicted.CREDIBILITY]
    assert credibility.value == "low"
    assert credibility.reasons == ("model: 0.40", "it is not sure of itself: -0.25")
    mood = tags[Predicted.SENTIMENT]
    assert mood.value == "positive" and mood.model == "memos-words-1"
    assert mood.confidence > 0.5 and "2 glad" in mood.reasons[0]
