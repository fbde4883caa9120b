"""Proposals: what models should learn, by what is used."""

from __future__ import annotations

from datetime import datetime

from memos_ray.gateway.fields import Model


class ProposedMemory(Model):
    """A memory that is proposed, at its version, and what speaks for it.

    `uses` is the number of prompts that it was found for, which fades with time, `conversations`
    how many different ones these belong to. `tokens` is the length of its text in a prompt,
    `settled_s` how long it had not been changed, `saved_s` how many seconds of prompts it saves.
    What the model knows already (`learnt`) is taught again with the rest.
    """

    id: str
    version: int
    uses: float
    conversations: int
    tokens: int
    settled_s: float
    saved_s: float
    learnt: bool


class Proposal(Model):
    """What a model should learn.

    `tokens` is by how many tokens a prompt would be shorter on average, `saved_s` how many seconds
    of prompts that saves, `lesson_s` how many the lesson takes. `reasons` are sentences.
    """

    id: str
    namespace: str
    model: str
    memories: list[ProposedMemory]
    tokens: float
    saved_s: float
    lesson_s: float
    reasons: list[str]
    since: datetime


class ProposalList(Model):
    """The proposals of a namespace."""

    proposals: list[Proposal]
