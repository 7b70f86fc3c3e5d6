"""Models on their way into memory: downloaded, loaded, and tried again until it succeeds.

A replica that loads answers nobody yet, so it reports to the event hub, where ingresses and runners ask. Reports
are repeated: a hub that was replaced knows again within seconds, and those of a replica that died run out.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from deployments.engines.common.errors import EngineError
from deployments.engines.common.hub.errors import HubError
from deployments.engines.common.hub.fetch import Progress, fetch
from deployments.engines.common.hub.needs import Weights

logger = logging.getLogger("segue.loading")

PAUSES_S = (5.0, 10.0, 20.0, 40.0, 60.0)
"""Between tries to load a model; the last one is repeated."""

REPORT_EVERY_S = 1.0
REPORT_HOLDS_S = 15.0
ASK_TIMEOUT_S = 1.0

E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class Loading:
    """`error` says why loading failed, until the next try; `trouble` what holds up the one under way. Neither names
    anything of the inside. Bytes are of the download; 0 where there is none."""

    done_bytes: int = 0
    total_bytes: int = 0
    error: str = ""
    trouble: str = ""

    @property
    def sentence(self) -> str:
        """What follows the model's name."""
        if self.error:
            return f"cannot be loaded: {self.error}"
        trouble = f" ({self.trouble})" if self.trouble else ""
        if self.done_bytes < self.total_bytes:
            return f"is being loaded, {self.done_bytes / 1e6:.0f} of {self.total_bytes / 1e6:.0f} MB{trouble}"
        return f"is being loaded{trouble}"


AskLoading = Callable[[], Awaitable[Mapping[str, Loading]]]
"""Returns the models that load, by deployment."""

Report = Callable[[Loading | None], None]
"""Takes the state of a model that loads; None once it is loaded. May be called from any thread."""


async def load_patiently(
    find_weights: Callable[[], Weights | None],
    load: Callable[[], Awaitable[E]],
    report: Report,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> E:
    """What `load` returns, once it does: the weights are downloaded before, and a try that fails with an
    EngineError is followed by another after a pause. Each failure is one line in the log."""
    failures, reason = 0, ""
    while True:
        progress = _Follower(report, reason)
        try:
            weights = await asyncio.to_thread(find_weights)
            if weights is not None:
                await asyncio.to_thread(fetch, [weights], progress.follow)
            progress.downloaded()
            loaded = await load()
        except EngineError as error:
            pause_s = PAUSES_S[min(failures, len(PAUSES_S) - 1)]
            failures, reason = failures + 1, _public(error)
            logger.error("the model is not loaded: %s; trying again in %.0f s", error, pause_s)
            report(Loading(progress.last.done_bytes, progress.last.total_bytes, reason))
            await sleep(pause_s)
        else:
            report(None)
            return loaded


class Reporter:
    """Sends a replica's newest report to the hub every `REPORT_EVERY_S`, until it is loaded."""

    def __init__(self, hub: Any, deployment: str, replica: str) -> None:
        self._hub = hub
        self._deployment = deployment
        self._replica = replica
        self._state: Loading | None = Loading()

    def __call__(self, state: Loading | None) -> None:
        self._state = state

    async def run(self) -> None:
        """Until cancelled, or nothing is to be reported any more."""
        while True:
            state = self._state
            try:
                await _soon(self._hub.report_loading.remote(self._deployment, self._replica, state))
            except Exception as error:  # the hub may be dead or not there yet: the next report says the same
                logger.debug("report lost: %r", error)
            if state is None:
                return
            await asyncio.sleep(REPORT_EVERY_S)


class LoadingBoard:
    """The newest report of each replica that loads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._reports: dict[tuple[str, str], tuple[float, Loading]] = {}

    def report(self, deployment: str, replica: str, state: Loading | None) -> None:
        if state is None:
            self._reports.pop((deployment, replica), None)
        else:
            self._reports[deployment, replica] = (self._clock(), state)

    def read(self) -> dict[str, Loading]:
        """By deployment: of several replicas, the one that is furthest."""
        oldest = self._clock() - REPORT_HOLDS_S
        self._reports = {key: report for key, report in self._reports.items() if report[0] >= oldest}
        shown: dict[str, Loading] = {}
        for (deployment, _), (_, state) in self._reports.items():
            other = shown.get(deployment)
            if other is None or _rank(state) > _rank(other):
                shown[deployment] = state
        return shown


class HubLoading:
    """What the hub knows of models that load; nothing where it does not answer."""

    def __init__(self, hub: Any) -> None:
        self._hub = hub

    async def __call__(self) -> Mapping[str, Loading]:
        try:
            found: Mapping[str, Loading] = await _soon(self._hub.loading.remote())
            return found
        except Exception as error:
            logger.debug("the hub does not say what loads: %r", error)
            return {}


async def nothing_loads() -> Mapping[str, Loading]:
    return {}


class _Follower:
    """Reports one try. `trouble` is why the one before failed."""

    def __init__(self, report: Report, trouble: str) -> None:
        self._report = report
        self._trouble = trouble
        self.last = Progress()
        report(Loading(trouble=trouble))

    def follow(self, progress: Progress) -> None:
        if progress.done_bytes > self.last.done_bytes:
            self._trouble = ""
        self.last = progress
        trouble = progress.trouble or self._trouble
        self._report(Loading(progress.done_bytes, progress.total_bytes, trouble=trouble))

    def downloaded(self) -> None:
        self._report(Loading(self.last.total_bytes, self.last.total_bytes))


async def _soon(response: Any) -> Any:
    """The answer to a call of a handle. Raises TimeoutError after `ASK_TIMEOUT_S`; the call is cancelled then."""
    try:
        async with asyncio.timeout(ASK_TIMEOUT_S):
            return await response
    except BaseException:
        response.cancel()
        raise


def _rank(state: Loading) -> tuple[bool, int]:
    return not state.error, state.done_bytes


def _public(error: EngineError) -> str:
    """What a library says of weights names files of this machine; that stays in the log."""
    return str(error) if isinstance(error, HubError) else "its weights do not load; the server's log says why"
