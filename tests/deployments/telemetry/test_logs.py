from __future__ import annotations

import asyncio
import json
import logging

from deployments.telemetry.context import bound, carried, current_ids
from deployments.telemetry.logs import JsonFormatter


def line() -> dict[str, str]:
    record = logging.LogRecord("segue.jobs", logging.INFO, "", 0, "job %s", ("j",), None)
    parsed: dict[str, str] = json.loads(JsonFormatter().format(record))
    return parsed


async def test_a_line_carries_the_ids_of_the_work_in_hand() -> None:
    with bound(request_id="r", tenant="t"), bound(job_id="j", chain_id=None):
        assert line().items() >= {"request_id": "r", "tenant": "t", "job_id": "j", "message": "job j"}.items()
        assert await asyncio.to_thread(line) | {"time": ""} == line() | {"time": ""}
        assert carried() == {"request_id": "r", "tenant": "t", "job_id": "j"}
    assert dict(current_ids()) == {}
    assert set(line()) == {"time", "level", "logger", "message"}
