"""What happens to every HTTP request before and after its route: one ASGI middleware.

    request id ─▶ size limit ─▶ deadline ─▶ route ─▶ metrics ─▶ access log

It also is the last resort: an exception that nobody named becomes the problem `internal`. The log
then names the exception's class and the lines that it passed, not its message, which may quote
what somebody remembered.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from uuid import uuid4

import orjson
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from memos_ray.core.defects import describe_defect
from memos_ray.errors import (
    DeadlineExceededError,
    InvalidInputError,
    MemosError,
    PayloadTooLargeError,
    UnsupportedFormatError,
)
from memos_ray.gateway.metrics import HttpMetrics
from memos_ray.gateway.problems import internal, response_of

REQUEST_ID = "x-request-id"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_UNLIMITED = frozenset({"/v1/ingest", "/v1/chat/completions", "/v1/completions"})
_access = logging.getLogger("memos_ray.access")
_log = logging.getLogger(__name__)


class Edge:
    """The middleware.

    Args:
        request_bytes: most bytes of a body.
        timeout_s: deadline of a request; ingest, which writes batch by batch, has none, and
            answers of models, which take their time, have their own.
        echo_request_id: whether to return the request id; Serve's proxy does so by itself.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: HttpMetrics,
        request_bytes: int,
        timeout_s: float,
        echo_request_id: bool,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._request_bytes = request_bytes
        self._timeout_s = timeout_s
        self._echo = echo_request_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request; see `asgiref`'s specification of ASGI 3."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._request_bytes, self._echo)
        limit = None if scope["path"] in _UNLIMITED else self._timeout_s
        started = time.perf_counter()
        try:
            async with asyncio.timeout(limit):
                exchange.check()
                await self._app(scope, exchange.receive, exchange.send)
        except TimeoutError:
            await exchange.fail(
                DeadlineExceededError("the answer took too long", limit_s=self._timeout_s)
            )
        except MemosError as error:
            await exchange.fail(error)
        except ClientDisconnect:
            exchange.status = 499
        except Exception as error:
            _log.error("request %s failed: %s", exchange.request_id, describe_defect(error))
            await exchange.fail(None)
        finally:
            self._record(scope, exchange, time.perf_counter() - started)

    def _record(self, scope: Scope, exchange: _Exchange, took_s: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        self._metrics.observe(route, scope["method"], exchange.status, took_s)
        _access.info(
            orjson.dumps(
                {
                    "request_id": exchange.request_id,
                    "method": scope["method"],
                    "route": route,
                    "status": exchange.status,
                    "ms": round(1000 * took_s, 2),
                    "bytes_in": exchange.received,
                    "bytes_out": exchange.sent,
                }
            ).decode()
        )


class _Exchange:
    """One request and its answer, counted."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, request_bytes: int, echo: bool
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._request_bytes = request_bytes
        self._echo = echo
        self._headers = Headers(scope=scope)
        given = self._headers.get(REQUEST_ID)
        self._id_is_bad = given is not None and not _REQUEST_ID.fullmatch(given)
        self.request_id = given if given and not self._id_is_bad else uuid4().hex
        self.status = 0
        self.received = 0
        self.sent = 0
        self._started = False
        scope.setdefault("state", {})["request_id"] = self.request_id

    def check(self) -> None:
        """Refuses what the headers alone condemn.

        Raises:
            InvalidInputError: the request id has another form.
            PayloadTooLargeError: the announced body is too long.
            UnsupportedFormatError: the body is compressed.
        """
        if self._id_is_bad:
            raise InvalidInputError(
                "a request id has 1 to 128 letters, digits and . _ : -", field="X-Request-Id"
            )
        if self._headers.get("content-encoding", "identity").lower() != "identity":
            raise UnsupportedFormatError("send the body uncompressed", field="Content-Encoding")
        announced = self._headers.get("content-length", "")
        if announced.isdigit() and int(announced) > self._request_bytes:
            raise self._too_large()

    async def receive(self) -> Message:
        """Passes the body on, up to its limit.

        Raises:
            PayloadTooLargeError: when the limit is passed.
        """
        message = await self._receive()
        if message["type"] == "http.request":
            self.received += len(message.get("body", b""))
            if self.received > self._request_bytes:
                raise self._too_large()
        return message

    async def send(self, message: Message) -> None:
        """Passes the answer on."""
        if message["type"] == "http.response.start":
            self._started = True
            self.status = message["status"]
            if self._echo:
                MutableHeaders(scope=message)["X-Request-Id"] = self.request_id
        elif message["type"] == "http.response.body":
            self.sent += len(message.get("body", b""))
        await self._send(message)

    async def fail(self, error: MemosError | None) -> None:
        """Answers with a problem, unless an answer is under way."""
        if self._started:
            return
        scope = self._scope
        answer = internal(scope) if error is None else response_of(error, scope)
        await answer(scope, self._receive, self.send)

    def _too_large(self) -> PayloadTooLargeError:
        return PayloadTooLargeError("the body is too long", limit=self._request_bytes)
