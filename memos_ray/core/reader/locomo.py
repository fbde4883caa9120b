"""The LoCoMo layout: samples with numbered sessions of two speakers, and questions with evidence.

Maharana et al., "Evaluating Very Long-Term Conversational Memory of LLM Agents", ACL 2024.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

_SESSION = re.compile(r"session_(\d+)")
# Some evidence is malformed: "D8:6; D9:17" in one string, "D:11:26", "D30:05".
_EVIDENCE = re.compile(r"D:?(\d+):(\d+)")
CATEGORIES = {
    1: "multi-hop",
    2: "temporal",
    3: "open-domain",
    4: "single-hop",
    5: "adversarial",
}


def is_sample(value: object) -> bool:
    """Tells whether a JSON value is one sample of this layout."""
    if not isinstance(value, dict) or not isinstance(value.get("conversation"), dict):
        return False
    return any(_SESSION.fullmatch(key) for key in value["conversation"])


def turns(conversation: dict[str, object]) -> Iterator[object]:
    """Yields the turns of a sample in order, as messages with session, time and caption."""
    numbers = sorted(int(m[1]) for key in conversation if (m := _SESSION.fullmatch(key)))
    for number in numbers:
        session = conversation[f"session_{number}"]
        time = conversation.get(f"session_{number}_date_time")
        for turn in session if isinstance(session, list) else ():
            yield _message(turn, f"session_{number}", time) if isinstance(turn, dict) else turn


def _message(turn: dict[str, object], session: str, time: object) -> dict[str, object]:
    text, caption = turn.get("text"), turn.get("blip_caption")
    if isinstance(caption, str) and caption.strip():
        # A picture is part of what was said, and later questions ask about it.
        text = f"{text or ''} [shares a photo: {caption.strip()}]"
    links = turn.get("img_url")
    return {
        "id": turn.get("dia_id"),
        "speaker": turn.get("speaker"),
        "text": text,
        "session": session,
        "time": time,
        "attachments": [links] if isinstance(links, str) else links,
    }


def evidence(references: Iterable[object], known: Collection[str]) -> tuple[str, ...]:
    """Normalises references to turns; those to turns that do not exist are dropped."""
    found: dict[str, None] = {}
    for reference in references:
        for match in _EVIDENCE.finditer(str(reference)):
            turn = f"D{int(match[1])}:{int(match[2])}"
            if turn in known:
                found[turn] = None
    return tuple(found)
