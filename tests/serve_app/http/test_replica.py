"""Every answer names its replica, and what is being answered is counted."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from fastapi import FastAPI

from serve_app.http.replica import REPLICA_HEADER, OpenRequests, ReplicaMiddleware


async def test_an_answer_names_its_replica_and_counts_while_it_lasts() -> None:
    app, requests, asked, go_on = FastAPI(), OpenRequests(), asyncio.Event(), asyncio.Event()
    app.add_middleware(ReplicaMiddleware, replica="r1", open_requests=requests)

    @app.get("/slow")
    async def slow() -> None:
        asked.set()
        await go_on.wait()

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        asking = asyncio.create_task(http.get("/slow"))
        await asked.wait()
        assert requests.count == 1
        missing = await http.get("/nothing")
        assert (missing.status_code, missing.headers[REPLICA_HEADER]) == (404, "r1")
        assert requests.count == 1
        go_on.set()
        assert (await asking).headers[REPLICA_HEADER] == "r1"
        with pytest.raises(RuntimeError):
            await http.get("/broken")
    assert requests.count == 0
