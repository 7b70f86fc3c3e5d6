"""How much longer a take needs through the service than in the engine alone, and where that goes."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from benchmarks.child import Child
from benchmarks.studio import Record, Studio
from benchmarks.summary import Summary
from benchmarks.tables import Row, Table

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


def measure(studio: Studio, takes: int) -> list[Table]:
    """Service and engine alone take turns, as do the cases."""
    cases = [(model, duration_s) for model in MODELS for duration_s in DURATIONS_S]
    chains = {case: studio.upload(CONTEXT_S) for case in cases}
    alone_s: dict[Case, list[float]] = defaultdict(list)
    timelines: dict[Case, list[Mapping[str, float]]] = defaultdict(list)
    with Child("benchmarks.listeners") as listeners:
        engines = {model: Child("benchmarks.engine_alone", model, OMP_NUM_THREADS="1") for model in MODELS}
        try:
            for seed in range(takes + 1):
                for case in cases:
                    model, duration_s = case
                    wanted = {"prompt": "strings", "duration_s": duration_s, "seed": seed}
                    took_s = engines[model].ask(**wanted, context_s=CONTEXT_S)
                    timeline = _take(studio, listeners, chains[case], {**wanted, "model": model})
                    time.sleep(SETTLE_S)
                    if seed:  # the first is for warming up
                        alone_s[case].append(took_s)
                        timelines[case].append(timeline)
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
            "the engine alone just before it, `ratio` that of their quotients; `POST` is until the 202.",
            [_overhead_row(case, alone_s[case], timelines[case]) for case in cases],
        ),
        Table(
            "timeline",
            "Where the time of a take goes",
            "Milliseconds between the stamps of records, and at the end the frame's arrival. A record is "
            "stamped just before it is written, so its write falls into the step that follows. `running -> "
            "ready` holds the engine; its `less the engine` is the difference of the medians: context, "
            "resampling, the arrays' way to the generator and back, gain, blobs.",
            [row for case in cases for row in _step_rows(case, alone_s[case], timelines[case])],
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


def _overhead_row(case: Case, alone_s: list[float], timelines: list[Mapping[str, float]]) -> Row:
    service_s = [timeline["service"] for timeline in timelines]
    alone, service = Summary.in_ms(alone_s), Summary.in_ms(service_s)
    pairs = list(zip(service_s, alone_s, strict=True))
    return {
        **_named(case),
        "POST p50": Summary.in_ms([timeline["POST"] for timeline in timelines]).median,
        "service p50": service.median,
        "service p95": service.p95,
        "engine alone p50": alone.median,
        "engine alone p95": alone.p95,
        "overhead": Summary.in_ms([through_s - direct_s for through_s, direct_s in pairs]).median,
        "ratio": Summary.of([through_s / direct_s for through_s, direct_s in pairs]).median,
    }


def _step_rows(case: Case, alone_s: list[float], timelines: list[Mapping[str, float]]) -> list[Row]:
    rows: list[Row] = []
    for step in STEPS:
        # Two changes may share one frame; the steps on both sides of the first are not known then.
        took = Summary.in_ms([timeline[step] for timeline in timelines if not math.isnan(timeline[step])])
        engine = Summary.in_ms(alone_s).median if step == "running -> ready" else 0.0
        rows.append(
            {
                **_named(case),
                "step": step,
                "n": took.count,
                "p50": took.median,
                "p95": took.p95,
                "less the engine": took.median - engine,
            }
        )
    return rows


def _named(case: Case) -> Row:
    return {"model": case[0], "take (s)": f"{case[1]:g}"}


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
