"""The connection to a Milvus engine: bounded waits, a circuit breaker, named errors.

States:
    DOWN    no client; every call fails at once; the link's thread tries to connect.
    UP      calls go through; a transport failure or timeout makes it DOWN again.
    CLOSED  for good.

Only the link's own thread connects, so a dead engine costs its callers one timeout in all and
microseconds from then on, and nobody has to ask for the recovery. The thread lives as long as the
link: an engine process that it starts may tie its life to it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import grpc
from pymilvus import MilvusException

from memos_ray.errors import MemosError, VectorStoreError

T = TypeVar("T")

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0
_CONNECT_FAILED = 2
_COLLECTION_NOT_FOUND = 100
_CLIENT_SIDE = "Unexpected error, message=<"
_ANSWERS = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)

# The client logs each failed request with its expression, which names users and tags. Failures
# are raised as named errors anyway.
logging.getLogger("pymilvus").setLevel(logging.CRITICAL + 1)


class Link:
    """Hands a connected client to callers, or refuses quickly.

    Invariants: `generation` grows with each connection; a client is closed only by the link's
    thread, after it was taken out of circulation.
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        disconnect: Callable[[Any], None],
        *,
        first_wait_s: float,
        shut_down: Callable[[], None] = lambda: None,
    ) -> None:
        """Starts to connect and waits for the outcome of the first attempt.

        Args:
            connect: makes a client, in the link's thread; raises when the engine is away.
            disconnect: releases a client, in the link's thread.
            first_wait_s: how long to wait for the first attempt; a failed or slow one is not an
                error, the link is just DOWN.
            shut_down: ends what `connect` has started, in the link's thread, when it closes.
        """
        self._connect = connect
        self._disconnect = disconnect
        self._shut_down = shut_down
        self._client: Any = None
        self._failed: Any = None
        self._generation = 0
        self._reason = "not connected yet"
        self._lock = threading.Lock()
        self._work = threading.Event()
        self._closing = threading.Event()
        self._attempted = threading.Event()
        self._work.set()
        self._thread = threading.Thread(target=self._run, name="milvus-link", daemon=True)
        self._thread.start()
        self._attempted.wait(first_wait_s)

    @property
    def generation(self) -> int:
        """Number of connections so far."""
        return self._generation

    @property
    def up(self) -> bool:
        """Whether calls go through at the moment."""
        return self._client is not None

    def call(self, operation: str, run: Callable[[Any], T]) -> T:
        """Runs a request.

        Args:
            run: gets the client; must pass a timeout to whatever it calls.

        Raises:
            VectorStoreError: when the engine is away, silent, or refuses the request; the detail
                `missing` tells a collection that is not there.
        """
        client = self._client
        if client is None:
            raise VectorStoreError("Milvus is away", operation=operation, reason=self._reason)
        try:
            return run(client)
        except MemosError:
            raise
        except Exception as error:
            code = _code_of(error)
            if _is_transport(error):
                self.drop(client, f"{operation} failed: {code}")
                raise VectorStoreError(
                    "Milvus does not answer", operation=operation, reason=code
                ) from error
            missing = getattr(error, "code", None) == _COLLECTION_NOT_FOUND
            raise VectorStoreError(
                "Milvus refused a request", operation=operation, reason=code, missing=missing
            ) from error

    def drop(self, client: Any, reason: str) -> None:
        """Takes a failed client out of circulation; one that is no longer in use is ignored."""
        with self._lock:
            if self._client is client and client is not None:
                self._client = None
                self._reason = reason
                self._failed = client
                self._work.set()

    def fail(self, reason: str) -> None:
        """Takes the client out of circulation because its engine is known to be gone."""
        self.drop(self._client, reason)

    def close(self) -> None:
        """Disconnects and ends the thread; safe to call twice."""
        self._closing.set()
        self._work.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while True:
            self._work.wait()
            self._work.clear()
            with self._lock:
                stale, self._failed = self._failed, None
            self._release(stale)
            if self._closing.is_set():
                break
            self._reconnect()
        with self._lock:
            last, self._client = self._client, None
            self._reason = "closed"
        self._release(last)
        self._shut_down()

    def _reconnect(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._closing.is_set():
            try:
                client = self._connect()
            # Whatever goes wrong while connecting is the reason of the refusals meanwhile.
            except Exception as error:
                self._reason = f"cannot connect: {_code_of(error)}"
                self._attempted.set()
                self._closing.wait(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                continue
            with self._lock:
                self._generation += 1
                self._client = client
            self._attempted.set()
            return

    def _release(self, client: Any) -> None:
        if client is None:
            return
        try:
            self._disconnect(client)
        except Exception as error:
            logging.getLogger(__name__).debug("closing a client failed: %s", _code_of(error))


def _code_of(error: BaseException) -> str:
    """Names an error without its message, which may hold parts of an expression."""
    if isinstance(error, MemosError):
        return f"{error.code}: {error.message}"
    code = error.code() if isinstance(error, grpc.Call) else getattr(error, "code", None)
    kind = type(error).__name__
    return kind if code is None else f"{kind} {getattr(code, 'name', code)}"


def _is_transport(error: BaseException) -> bool:
    """Tells a connection that failed from an engine that answered with an error."""
    if isinstance(error, MilvusException):
        if isinstance(error.code, grpc.StatusCode):
            return error.code not in _ANSWERS
        silent = error.code == _CONNECT_FAILED
        return silent or str(error.message).startswith(_CLIENT_SIDE)
    if isinstance(error, grpc.Call):
        return error.code() not in _ANSWERS
    return True


def cosine(score: float) -> float:
    """Returns what an engine calls a cosine, 1.0000001 among others, as one."""
    return min(1.0, max(-1.0, score))
