"""Has a model name topics, behind whoever looks at them."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import blake2b
from uuid import uuid4

from memos_ray.actors.extraction.asking import Asking
from memos_ray.core.defects import describe_defect
from memos_ray.core.organising.titles import (
    ANSWER_TOKENS,
    AT_ONCE,
    Words,
    key_of,
    titles_of,
    titles_prompt,
    words_of,
)
from memos_ray.core.organising.topics import TopicView
from memos_ray.errors import MemosError, OverloadedError, UnavailableError

_KEPT = 4096
_log = logging.getLogger(__name__)


class TopicTitles:
    """Titles in a model's words, where one reads for extraction; within its budgets.

    Nobody waits for a title: whoever looks at topics first sees their words, and has the model
    asked for what it has not named yet. Titles are kept in memory, by a digest of what they are
    made from.

    Concurrency: runs on the actor's event loop; one question for a tenant at a time.
    """

    def __init__(self, asking: Callable[[], Asking | None], counters: Counter[str]) -> None:
        self._asking = asking
        self._counters = counters
        # An empty one: there is none to be had.
        self._titles: OrderedDict[bytes, str] = OrderedDict()
        self._tries: Counter[bytes] = Counter()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def titled(self, tenant: str, view: TopicView) -> TopicView:
        """Returns a view with the titles that there are; has the model asked for the others."""
        asking = self._asking()
        if asking is None or not view.topics:
            return view
        made, missing = [], list[Words]()
        for topic in view.topics:
            words = words_of(topic)
            title = self._titles.get(key_of(tenant, words))
            if title is None and words[0]:
                missing.append(words)
            made.append(replace(topic, title=title, titled_by=asking.model) if title else topic)
        if missing and tenant not in self._tasks:
            task = asyncio.create_task(self._named(asking, tenant, missing[:AT_ONCE]))
            self._tasks[tenant] = task
            task.add_done_callback(lambda _: self._tasks.pop(tenant, None))
        return replace(view, topics=tuple(made))

    async def close(self) -> None:
        """Stops; what was not answered is asked again when somebody looks."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _named(self, asking: Asking, tenant: str, groups: Sequence[Words]) -> None:
        salt = blake2b(f"titles {tenant}".encode(), digest_size=16).hexdigest()
        prompt = titles_prompt(uuid4().hex, groups, salt)
        while len(groups) > 1 and prompt.tokens - ANSWER_TOKENS > asking.prompt_tokens:
            # The others are asked about when somebody looks again.
            groups = groups[: len(groups) // 2]
            prompt = titles_prompt(uuid4().hex, groups, salt)
        keys = [key_of(tenant, words) for words in groups]
        if prompt.tokens - ANSWER_TOKENS > asking.prompt_tokens:
            self._counters["topics_titles_refused"] += 1
            self._keep(keys[0], "")
            return
        try:
            answer = await asking.ask(tenant, prompt)
        except (OverloadedError, UnavailableError):
            # No fault of the words: they are asked about again once somebody looks.
            self._counters["topics_titles_failed"] += 1
            return
        except MemosError as error:
            self._failed(asking, keys, error.code)
            return
        except Exception as error:
            self._failed(asking, keys, describe_defect(error))
            return
        if answer is None:
            # The budget, or the model, is away.
            return
        titles = titles_of(answer.text, groups)
        for key, title in zip(keys, titles, strict=True):
            self._keep(key, title or "")
        taken = sum(title is not None for title in titles)
        self._counters["topics_titled"] += taken
        self._counters["topics_titles_refused"] += len(titles) - taken
        _log.info("topics: %d titles of %s are taken, of %d", taken, asking.model, len(titles))

    def _failed(self, asking: Asking, keys: Sequence[bytes], why: str) -> None:
        self._counters["topics_titles_failed"] += 1
        _log.warning("topics keep their words: %s", why)
        if len(self._tries) > _KEPT:
            self._tries.clear()
        for key in keys:
            self._tries[key] += 1
            if self._tries[key] >= asking.attempts:
                self._keep(key, "")

    def _keep(self, key: bytes, title: str) -> None:
        self._tries.pop(key, None)
        self._titles[key] = title
        while len(self._titles) > _KEPT:
            self._titles.popitem(last=False)
