"""The figures of a `Generator` replica on Ray's metrics port.

Ray puts `ray_` before each name there, and adds the application, deployment and replica as tags.
"""

from __future__ import annotations

from ray.serve import metrics

from deployments.engines.music.meter import BatchState

_SECONDS = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0]


class GeneratorMetrics:
    """Satisfies `Meter`."""

    def __init__(self) -> None:
        def gauge(name: str, description: str) -> metrics.Gauge:
            return metrics.Gauge(f"segue_generator_{name}", description)

        def histogram(name: str, description: str, boundaries: list[float]) -> metrics.Histogram:
            return metrics.Histogram(f"segue_generator_{name}", description, boundaries)

        self._rows = gauge("batch_rows", "Rows of the last step; a guided take has two")
        self._takes = gauge("batch_takes", "Takes that made the last step")
        self._waiting = gauge("waiting_takes", "Takes that wait for room")
        self._kv_used = gauge("kv_used_bytes", "Keys and values of all admitted takes")
        self._kv_budget = gauge("kv_budget_bytes", "The most that keys and values may occupy")
        self._steps = metrics.Counter("segue_generator_steps", "Steps made")
        self._step_s = histogram("step_seconds", "What a step took", [s / 10 for s in _SECONDS])
        self._queue_s = histogram("queue_wait_seconds", "From a take's arrival to its admission", _SECONDS)
        self._first_audio_s = histogram("first_audio_seconds", "From arrival to the first samples", _SECONDS)
        self._real_time = histogram(
            "real_time_factor",
            "Seconds of a finished take's audio for each second since it came",
            [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0],
        )
        self._let_go_s = histogram(
            "cancel_to_free_seconds", "From a cancellation to the freed room", _SECONDS
        )

    def stepped(self, state: BatchState, *, seconds: float) -> None:
        self._rows.set(state.rows)
        self._takes.set(state.takes)
        self._waiting.set(state.waiting)
        self._kv_used.set(state.kv_bytes)
        self._kv_budget.set(state.kv_budget_bytes)
        if state.takes:
            self._steps.inc()
            self._step_s.observe(seconds)

    def admitted(self, *, waited_s: float) -> None:
        self._queue_s.observe(waited_s)

    def first_audio(self, *, after_s: float, steps: int) -> None:
        self._first_audio_s.observe(after_s)

    def finished(self, *, audio_s: float, after_s: float) -> None:
        self._real_time.observe(audio_s / max(after_s, 1e-6))

    def let_go(self, *, after_s: float) -> None:
        self._let_go_s.observe(after_s)
