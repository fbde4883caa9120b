"""Everything that a shard runs for one partition that it owns."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial

from memos_ray.actors.activation.activation import ActivationMemory
from memos_ray.actors.courtesy import Courtesy
from memos_ray.actors.evolution.evolution import Evolution
from memos_ray.actors.extraction.extraction import Extraction
from memos_ray.actors.feed import LOG_BATCH, LogFeed
from memos_ray.actors.lifecycle import archiving, branch_feed
from memos_ray.actors.lifecycle.archiving import ArchiveConsumer, Outcomes, Stubs
from memos_ray.actors.lifecycle.branch_feed import BranchConsumer
from memos_ray.actors.organising.organising import OrganiseConsumer, Organiser
from memos_ray.actors.parameter.parameter import ParameterMemory
from memos_ray.actors.sources.sources import SourceDesk
from memos_ray.actors.vault.bodies import BodyCache
from memos_ray.actors.vault.embedding import EmbedConsumer
from memos_ray.actors.vault.indexing import IndexConsumer
from memos_ray.actors.vault.receipts import Receipts
from memos_ray.actors.vault.residency import Residency
from memos_ray.actors.vault.searching import Searcher
from memos_ray.actors.vault.writer import PartitionWriter
from memos_ray.config import VaultSettings
from memos_ray.core.lifecycle.archive import StoredVersion
from memos_ray.core.retrieval.settings import RetrievalSettings
from memos_ray.core.vault.guarding import GuardPort
from memos_ray.core.vault.log import Commit, Event
from memos_ray.core.vault.receipts import Derived
from memos_ray.errors import MemosError
from memos_ray.ports import BlobStorePort, ClockPort, EmbedderPort, RecordStorePort, VectorStorePort

EMBED_FEED = "embed"
INDEX_FEED = "index"
ORGANISE_FEED = "organise"
ARCHIVE_FEED = "archive"
BRANCH_FEED = "branch"
_LOOK_S = 30.0
_PUT_AWAY_MOST = 2048


class OwnedPartition:
    """The writer of one partition and the feeds that follow its log."""

    def __init__(
        self,
        number: int,
        epoch: int,
        *,
        store: RecordStorePort,
        vectors: VectorStorePort | None,
        embedder: EmbedderPort,
        guard: GuardPort,
        clock: ClockPort,
        residency: Residency,
        searcher: Searcher,
        bodies: BodyCache,
        activation: ActivationMemory,
        parameter: ParameterMemory,
        receipts: Receipts,
        organiser: Organiser,
        evolution: Evolution,
        sources: SourceDesk,
        extraction: Extraction,
        settings: VaultSettings,
        retrieval: RetrievalSettings,
        executor: Executor,
        embed_executor: Executor,
        blobs: Callable[[], BlobStorePort] | None,
        pressing: Callable[[], bool],
        busy: Callable[[], bool],
        on_fenced: Callable[[int], None],
        on_error: Callable[[str, MemosError], None],
        counters: Counter[str],
    ) -> None:
        self.number = number
        self.epoch = epoch
        self._residency = residency
        self._searcher = searcher
        self._bodies = bodies
        self._activation = activation
        self._parameter = parameter
        self._receipts = receipts
        self._organiser = organiser
        self._evolution = evolution
        self._sources = sources
        self._extraction = extraction
        self._last_lsn = lambda: store.last_lsn(number)
        self._executor = executor
        # A call that was under way when the partition went away may have filled the caches since,
        # with what another owner has changed.
        self._forget()
        activation.open(number, epoch)
        parameter.open(number, epoch)
        organiser.book.open(number, epoch)
        evolution.open(number, epoch)
        self.writer = PartitionWriter(
            number,
            epoch,
            store=store,
            guard=guard,
            clock=clock,
            executor=executor,
            batch=settings.group_commit_max,
            queue_max=settings.queue_max,
            on_commit=self._on_commit,
            on_fenced=on_fenced,
            counters=counters,
        )
        courtesy = Courtesy(pressing)
        self.embed_feed = LogFeed(
            EMBED_FEED,
            number,
            epoch,
            # Another model begins the log anew, for nothing of it is embedded in its space.
            cursor=f"{EMBED_FEED}:{embedder.space.digest}",
            store=store,
            executor=executor,
            consumer=EmbedConsumer(
                number,
                epoch,
                store=store,
                residency=residency,
                embedder=embedder,
                views=retrieval.views,
                executor=executor,
                embed_executor=embed_executor,
                courtesy=courtesy,
                position=lambda: self.embed_feed.position,
                late=self._late,
            ),
            # What to embed is asked of the resident index, which must have seen it.
            ceiling=lambda: self.writer.seen_lsn,
            on_moved=self._on_embedded,
            overlooks=True,
            courtesy=courtesy,
            on_fenced=on_fenced,
            on_error=on_error,
        )
        # Nobody waits for order, nor for a copy of what is searched in memory: searches go first.
        politely = Courtesy(busy)
        self.organise_feed = LogFeed(
            ORGANISE_FEED,
            number,
            epoch,
            cursor=ORGANISE_FEED,
            store=store,
            executor=executor,
            consumer=OrganiseConsumer(
                number, organiser, politely, partial(sources.watch.look, number, epoch)
            ),
            # What to compare with is asked of the resident index, too.
            ceiling=lambda: self.writer.seen_lsn,
            # It is woken when memories have been embedded, so that no write meets both at once; it
            # needs no vectors, and goes on without.
            look_s=_LOOK_S,
            courtesy=politely,
            on_fenced=on_fenced,
            on_error=on_error,
        )
        self.index_feed: LogFeed | None = None
        if vectors is not None:
            self.index_feed = LogFeed(
                INDEX_FEED,
                number,
                epoch,
                # So does another copy, which lacks what happened while it was not fed.
                cursor=f"{INDEX_FEED}:{embedder.space.digest}:{vectors.home}",
                store=store,
                executor=executor,
                consumer=IndexConsumer(
                    number, store=store, vectors=vectors, space=embedder.space, executor=executor
                ),
                ceiling=lambda: self.embed_feed.position,
                look_s=_LOOK_S,
                courtesy=Courtesy(busy),
                on_fenced=on_fenced,
                on_error=on_error,
            )

        self.archive_feed: LogFeed | None = None
        self._archive: ArchiveConsumer | None = None
        self._put_away = 0
        if blobs is not None:
            self._archive = ArchiveConsumer(
                number,
                epoch,
                store=store,
                blobs=blobs,
                clock=clock,
                executor=executor,
                on_damaged=partial(on_error, "archive_file"),
            )
            self.archive_feed = LogFeed(
                ARCHIVE_FEED,
                number,
                epoch,
                cursor=ARCHIVE_FEED,
                store=store,
                executor=executor,
                consumer=self._archive,
                ceiling=lambda: None,
                batch=LOG_BATCH,
                passed=self._archive.passed,
                courtesy=Courtesy(pressing),
                on_fenced=on_fenced,
                on_error=on_error,
            )
        self.branches = BranchConsumer(
            number, epoch, store=store, writer=self.writer, executor=executor
        )
        self.branch_feed = LogFeed(
            BRANCH_FEED,
            number,
            epoch,
            cursor=BRANCH_FEED,
            store=store,
            executor=executor,
            consumer=self.branches,
            ceiling=lambda: None,
            batch=LOG_BATCH,
            begin=self.branches.begin,
            courtesy=Courtesy(pressing),
            on_fenced=on_fenced,
            on_error=on_error,
        )
        self.extract_feed = extraction.follow(
            number, epoch, self.writer.submit, on_fenced, on_error
        )
        feeds = {
            Derived.BRANCH: self.branch_feed,
            Derived.INDEX: self.index_feed,
            Derived.ARCHIVE: self.archive_feed,
            Derived.EXTRACTED: self.extract_feed,
        }
        receipts.open(
            number,
            epoch,
            {kind: feed.settled for kind, feed in feeds.items() if feed is not None},
        )

    @property
    def indexed_lsn(self) -> int:
        """How far the vector store has come, if there is one."""
        return 0 if self.index_feed is None else self.index_feed.position

    @property
    def feeds(self) -> tuple[LogFeed, ...]:
        """All that follow the log."""
        feeds = (
            self.embed_feed,
            self.organise_feed,
            self.index_feed,
            self.archive_feed,
            self.branch_feed,
            self.extract_feed,
        )
        return tuple(feed for feed in feeds if feed is not None)

    async def unorganised(self) -> int:
        """How many log entries have not been looked at for duplicates and overtaken facts."""
        loop = asyncio.get_running_loop()
        last = await loop.run_in_executor(self._executor, self._last_lsn)
        return last - self.organise_feed.position

    @property
    def erasures(self) -> int:
        """What `archive` is to be given: how many erasures the archive has heard of."""
        return 0 if self._archive is None else self._archive.erasures

    async def archive(
        self,
        versions: Sequence[StoredVersion],
        erasures: int,
        move: Callable[[Stubs], Awaitable[Outcomes]],
    ) -> Outcomes:
        """Archives memories, with their texts in files where that can be; see `put_away`."""
        if self._archive is None or not versions:
            return await move({})
        return await self._archive.put_away(versions, erasures, move)

    def put_away(self, memories: int, *, last: bool) -> None:
        """Hears how many memories a piece of a sweep has archived; their texts go to files by many.

        Args:
            last: whether the sweep is through with the partition.
        """
        self._put_away += memories
        full = last or self._put_away >= _PUT_AWAY_MOST
        if self._put_away and full and self.archive_feed is not None:
            self._put_away = 0
            self.archive_feed.notify()

    async def tidy(self) -> None:
        """Removes what interrupted work has left in the archive, and ends branches."""
        await self.branches.tidy()
        if self._archive is not None:
            await self._archive.tidy()

    def doubt_index(self) -> None:
        """Has the feed of the vector store look whether everything is still there."""
        if self.index_feed is not None:
            self.index_feed.notify()

    async def close(self) -> None:
        """Finishes the writes that wait, then stops following the log."""
        await self.writer.close()
        await asyncio.gather(*(feed.close() for feed in self.feeds))
        self._forget()

    def _forget(self) -> None:
        self._residency.drop(self.number)
        self._searcher.drop(self.number)
        self._bodies.drop(self.number)
        self._activation.drop(self.number)
        self._parameter.drop(self.number)
        self._receipts.drop(self.number)
        self._organiser.drop(self.number)
        self._evolution.drop(self.number)
        self._sources.drop(self.number)
        self._extraction.drop(self.number)

    def _on_commit(self, commit: Commit) -> None:
        self._receipts.note(commit)
        if commit.erased:
            self._evolution.erased(commit.partition, commit.erased)
            self._sources.erased(commit.partition, self.epoch, commit.erased)
        self._bodies.apply(commit)
        if self._archive is not None and commit.stowed:
            self._archive.stowed(commit)
        self._activation.apply(commit)
        self._parameter.apply(commit)
        self._searcher.forget(commit)
        self._residency.apply(commit)
        self.embed_feed.notify()
        if self._extraction.concerned(commit):
            self.extract_feed.notify()
        if self.archive_feed is not None and archiving.concerns(commit):
            self.archive_feed.notify()
        if branch_feed.concerns(commit):
            self.branch_feed.notify()

    def _late(self, events: Sequence[Event]) -> AbstractAsyncContextManager[None]:
        """Opens what vectors are stored in that come behind what follows the embedding."""
        return nullcontext() if self.index_feed is None else self.index_feed.owing(events)

    def _on_embedded(self) -> None:
        self.organise_feed.notify()
        if self.index_feed is not None:
            self.index_feed.notify()
