"""What a generator measures of its batch."""

from __future__ import annotations

from deployments.engines.music.meter import BatchState
from deployments.telemetry import catalog
from deployments.telemetry.recorder import Recorder


class BatchMeter:
    """Satisfies `Meter`."""

    def __init__(self, recorder: Recorder) -> None:
        self._record = recorder.record

    def stepped(self, state: BatchState, *, seconds: float) -> None:
        self._record(catalog.BATCH_ROWS, state.rows)
        self._record(catalog.BATCH_TAKES, state.takes)
        self._record(catalog.WAITING_TAKES, state.waiting)
        self._record(catalog.KV_USED, state.kv_bytes)
        self._record(catalog.KV_BUDGET, state.kv_budget_bytes)
        if state.takes:
            self._record(catalog.STEPS, 1)
            self._record(catalog.STEP_SECONDS, seconds)

    def admitted(self, *, waited_s: float) -> None:
        self._record(catalog.TAKE_QUEUE_WAIT, waited_s)

    def first_audio(self, *, after_s: float, steps: int) -> None:
        self._record(catalog.TAKE_FIRST_AUDIO, after_s)

    def finished(self, *, audio_s: float, after_s: float) -> None:
        self._record(catalog.REAL_TIME_FACTOR, audio_s / max(after_s, 1e-6))

    def let_go(self, *, after_s: float) -> None:
        self._record(catalog.CANCEL_TO_FREE, after_s)
