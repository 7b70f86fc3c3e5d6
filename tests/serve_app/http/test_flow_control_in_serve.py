"""Flow control through Ray Serve's own queues: those of its proxy and of a replica, without the calls between their
processes."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from ray.serve._private.http_util import ASGIReceiveProxy, MessageQueue
from ray.serve._private.proxy import HTTPProxy
from ray.serve._private.proxy_request_response import ASGIProxyRequest, ResponseStatus
from ray.serve.handle import DeploymentResponseGenerator
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.http.flow_control import FlowControlMiddleware
from serve_app.http.proxy_loss import ProxyLossMiddleware
from tests.serve_app.http.test_flow_control import KIB, WINDOW_BYTES, Connection, download

pytestmark = [pytest.mark.serve, pytest.mark.filterwarnings("ignore")]  # of Ray's own imports

REQUEST = SimpleNamespace(request_id="r", internal_request_id="i")


class _Answer(DeploymentResponseGenerator):  # type: ignore[misc]
    """What a handle gives to the proxy: batches of messages, pickled."""

    def __init__(self, batches: AsyncIterator[Any], work: asyncio.Task[None]) -> None:
        self._batches = batches
        self._work = work

    async def __anext__(self) -> bytes:
        return pickle.dumps(await anext(self._batches))

    def cancel(self) -> None:
        self._work.cancel()

    def cancelled(self) -> bool:
        return self._work.cancelled()

    def __del__(self) -> None:
        pass


class ServeLink:
    """As the stand-in of the other tests; `made_bytes` is what the replica has given to Serve."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._proxy = HTTPProxy.__new__(HTTPProxy)
        self._proxy.asgi_receive_queues = {}
        self._proxy.self_actor_name = "proxy"
        self._proxy.request_timeout_s = None
        self.work: asyncio.Task[None] | None = None
        self.made_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = ASGIProxyRequest(scope=scope, receive=receive, send=send)
        handle = SimpleNamespace(remote=self._remote)
        async for message in self._proxy.send_request_to_replica("r", "i", handle, request):
            if not isinstance(message, ResponseStatus):
                await send(message)

    def _remote(self, argument: bytes) -> _Answer:
        scope = pickle.loads(argument).asgi_scope

        async def messages(metadata: Any) -> bytes:
            return pickle.dumps(await self._proxy.receive_asgi_messages(metadata))

        receive, results = ASGIReceiveProxy(scope, REQUEST, messages), MessageQueue()

        async def enqueue(message: Any) -> None:
            self.made_bytes += len(message.get("body", b""))
            results.put_nowait(message)

        async def work() -> None:
            fetching = asyncio.create_task(receive.fetch_until_disconnect())
            try:
                await self._app(scope, receive, enqueue)
            finally:
                fetching.cancel()

        self.work = asyncio.create_task(work())
        return _Answer(results.fetch_messages_from_queue(self.work), self.work)


def link_to(sizes: list[int]) -> ServeLink:
    flowing = FlowControlMiddleware(download(sizes), window_bytes=WINDOW_BYTES)
    return ServeLink(ProxyLossMiddleware(flowing))  # as the ingress has them


async def test_all_of_an_answer_arrives() -> None:
    connection, link = Connection(), link_to([300 * KIB] * 20)
    await connection.ask(link)  # type: ignore[arg-type]
    assert connection.body == b"".join(bytes([number]) * 300 * KIB for number in range(20))


async def test_who_stops_reading_holds_a_window_and_ends_the_work() -> None:
    connection, link = Connection(300 * KIB), link_to([256 * KIB] * 100)
    await connection.ask(link, stalled_s=0.2)  # type: ignore[arg-type]
    assert link.work is not None
    await asyncio.wait({link.work}, timeout=30)
    assert link.work.done()
    assert link.made_bytes <= 300 * KIB + WINDOW_BYTES + 2 * 256 * KIB
    assert connection.transport.is_aborted.is_set()
