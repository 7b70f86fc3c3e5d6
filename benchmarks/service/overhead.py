"""How much longer a take needs through the service than in the engine alone, and where that goes."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from benchmarks.kit.child import Child
from benchmarks.kit.studio import Record, Studio
from benchmarks.kit.summary import Summary
from benchmarks.kit.tables import Row, Table

MODELS = ("mock", "tiny")
DURATIONS_S = (2.0, 6.0)
CONTEXT_S = 3.0
SETTLE_S = 0.1
"""After a take is seen, its job's record is still being ended: the engine alone shall not meet that."""

STEPS = (
    "POST sent -> node in the chain",
    "node in the chain -> claimed",
    "claimed -> running",
    "running -> ready",
    "ready -> seen",
)
Case = tuple[str, float]
"""Model, seconds of a take."""
Timelines = Mapping[tuple[str, Case], list[Mapping[str, float]]]
"""By store and case."""


def measure(studios: Sequence[Studio], takes: int) -> list[Table]:
    """The services and the engine alone take turns, as do the cases."""
    cases = [(model, duration_s) for model in MODELS for duration_s in DURATIONS_S]
    chains = {(studio.store, case): studio.upload(CONTEXT_S) for studio in studios for case in cases}
    alone_s: dict[Case, list[float]] = defaultdict(list)
    timelines: dict[tuple[str, Case], list[Mapping[str, float]]] = defaultdict(list)
    with Child("benchmarks.service.listeners") as listeners:
        engines = {
            model: Child("benchmarks.service.engine_alone", model, OMP_NUM_THREADS="1") for model in MODELS
        }
        try:
            for seed in range(takes + 1):
                for case in cases:
                    model, duration_s = case
                    wanted = {"prompt": "strings", "duration_s": duration_s, "seed": seed}
                    took_s = engines[model].ask(**wanted, context_s=CONTEXT_S)
                    if seed:  # the first is for warming up
                        alone_s[case].append(took_s)
                    for studio in studios if seed % 2 == 0 else studios[::-1]:
                        chain = chains[studio.store, case]
                        timeline = _take(studio, listeners, chain, {**wanted, "model": model})
                        time.sleep(SETTLE_S)
                        if seed:
                            timelines[studio.store, case].append(timeline)
        finally:
            for engine in engines.values():
                engine.__exit__()
    return [
        Table(
            "overhead",
            "A take through the service, and by the engine alone",
            f"Milliseconds from the 202 to the first sight of the ready node on the event stream; {takes} "
            "takes each, one at a time, in turns with the same engine in a process of its own (the engine "
            "alone; one thread in both). `overhead` is the median of the differences between a take and the one by "
            "the engine alone just before it, `ratio` that of their quotients; `POST` is until the 202."
            f"{_of_first_note(studios)}",
            [
                {
                    **_named(studio, case),
                    **_overhead_of(alone_s[case], timelines[studio.store, case]),
                    **_of_first(studios, studio, case, timelines),
                }
                for case in cases
                for studio in studios
            ],
        ),
        Table(
            "timeline",
            "Where the time of a take goes",
            "Milliseconds between the stamps of records, and at the end the frame's arrival. A record is "
            "stamped just before it is written, so its write falls into the step that follows. `running -> "
            "ready` holds the engine; its `less the engine` is the difference of the medians: context, "
            "resampling, the arrays' way to the generator and back, gain, blobs.",
            [
                {**_named(studio, case), **steps}
                for case in cases
                for studio in studios
                for steps in _steps_of(case, alone_s[case], timelines[studio.store, case])
            ],
        ),
    ]


def _take(studio: Studio, listeners: Child, chain: Record, wanted: Mapping[str, Any]) -> Mapping[str, float]:
    """The wall clock at each point of one take."""
    listeners.ask(port=studio.port, chain_id=chain["id"], subscribers=1)
    sent_s = time.time()
    accepted = studio.branch(chain, **wanted)
    accepted_s = time.time()
    (frames,) = listeners.ask(until_node=accepted["nodes"][0]["id"])
    job = studio.job(accepted["job_id"])
    if job["state"] != "succeeded":
        raise RuntimeError(f"a take failed: {job['error']}")

    # The chain frame ends a change and has its time; the node frame before it says what changed.
    changed_s: dict[str, float] = {}
    status, seen_s = "", math.nan
    for arrived_s, event, data in frames:
        match event:
            case "node":
                status, seen_s = data["status"], arrived_s
            case "chain":
                changed_s[status] = _seconds(data["updated_at"])
    points = (
        sent_s,
        changed_s.get("pending", math.nan),
        _seconds(job["started_at"]),
        changed_s.get("running", math.nan),
        changed_s["ready"],
        seen_s,
    )
    steps = {step: points[index + 1] - points[index] for index, step in enumerate(STEPS)}
    return {**steps, "POST": accepted_s - sent_s, "service": seen_s - accepted_s}


def _overhead_of(alone_s: list[float], timelines: list[Mapping[str, float]]) -> Row:
    service_s = [timeline["service"] for timeline in timelines]
    alone, service = Summary.in_ms(alone_s), Summary.in_ms(service_s)
    pairs = list(zip(service_s, alone_s, strict=True))
    return {
        "POST p50": Summary.in_ms([timeline["POST"] for timeline in timelines]).median,
        "service p50": service.median,
        "service p95": service.p95,
        "engine alone p50": alone.median,
        "engine alone p95": alone.p95,
        "overhead": Summary.in_ms([through_s - direct_s for through_s, direct_s in pairs]).median,
        "ratio": Summary.of([through_s / direct_s for through_s, direct_s in pairs]).median,
    }


def _of_first_note(studios: Sequence[Studio]) -> str:
    if len(studios) == 1:
        return ""
    return f" `of {studios[0].store}` is the median of the quotients with the take on {studios[0].store} beside it."


def _of_first(studios: Sequence[Studio], studio: Studio, case: Case, timelines: Timelines) -> Row:
    """A take's time over that of the same take on the first studio, where there is another."""
    if len(studios) == 1:
        return {}
    ours, firsts = timelines[studio.store, case], timelines[studios[0].store, case]
    quotients = [our["service"] / first["service"] for our, first in zip(ours, firsts, strict=True)]
    return {f"of {studios[0].store}": Summary.of(quotients).median}


def _steps_of(case: Case, alone_s: list[float], timelines: list[Mapping[str, float]]) -> list[Row]:
    rows: list[Row] = []
    for step in STEPS:
        # Two changes may share one frame; the steps on both sides of the first are not known then.
        took = Summary.in_ms([timeline[step] for timeline in timelines if not math.isnan(timeline[step])])
        engine = Summary.in_ms(alone_s).median if step == "running -> ready" else 0.0
        rows.append(
            {
                "step": step,
                "n": took.count,
                "p50": took.median,
                "p95": took.p95,
                "less the engine": took.median - engine,
            }
        )
    return rows


def _named(studio: Studio, case: Case) -> Row:
    return {"model": case[0], "take (s)": f"{case[1]:g}", "store": studio.store}


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
