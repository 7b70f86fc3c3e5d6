"""The run as a picture; needs the extra `load`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot

from benchmarks.load.plan import Phase
from benchmarks.load.samples import Sample, of, windows
from benchmarks.load.watcher import Moment

mpl.use("Agg")
mpl.rcParams["svg.hashsalt"] = "segue"  # the same run gives the same file
WINDOW_S = 10.0
COLOURS = ("#30638e", "#d1495b", "#edae49", "#00798c", "#6a4c93", "#8d99ae")


def draw(
    path: Path, began_s: float, phases: Sequence[Phase], samples: Sequence[Sample], moments: Sequence[Moment]
) -> None:
    """Goodput and refusals, times, replicas and queues, memory, over one time axis; `path` is an SVG."""
    figure, axes = pyplot.subplots(4, 1, sharex=True, figsize=(9, 10), layout="constrained")
    flow, times, scale, memory = axes
    ready = [sample for sample in of(samples, "take") if sample.outcome == "ready"]
    refused = [sample for sample in of(samples, "branch") if sample.outcome == "429"]
    for label, found, colour in (
        ("takes ready", ready, COLOURS[0]),
        ("requests refused (429)", refused, COLOURS[1]),
    ):
        counted = [(at_s, len(each) / WINDOW_S) for at_s, each in windows(found, began_s, WINDOW_S)]
        flow.plot(*zip(*counted, strict=True) if counted else ([], []), color=colour, label=label)
    flow.set_ylabel("in a second")
    end = 0.0
    for phase in phases:
        flow.axvspan(end, end + phase.seconds, alpha=0.03 + 0.004 * phase.musicians, color="black", lw=0)
        flow.annotate(
            f"{phase.musicians}",
            (end + phase.seconds / 2, 0.9),
            xycoords=("data", "axes fraction"),
            ha="center",
        )
        end += phase.seconds
    flow.set_title("Segue under load: musicians at work (numbers above), logical GPUs, the tiny model")
    for name, colour in (
        ("first audio", COLOURS[0]),
        ("take", COLOURS[3]),
        ("queue wait", COLOURS[4]),
        ("event lag", COLOURS[2]),
    ):
        for share, style in ((0.5, "-"), (0.99, ":")):
            points = [
                (at_s, sorted(each.seconds for each in found)[int(share * (len(found) - 1))])
                for at_s, found in windows(of(samples, name), began_s, WINDOW_S)
                if found
            ]
            label = f"{name}, p{share * 100:g}"
            times.plot(*zip(*points, strict=True) if points else ([], []), style, color=colour, label=label)
    times.set_yscale("log")
    times.set_ylabel("seconds")
    at = [moment.at_s - began_s for moment in moments]
    scale.step(
        at, [moment.replicas for moment in moments], where="post", color=COLOURS[0], label="replicas that run"
    )
    scale.step(
        at,
        [moment.wanted for moment in moments],
        ":",
        where="post",
        color=COLOURS[1],
        label="replicas wanted",
    )
    scale.set_ylabel("generator's replicas")
    queued = scale.twinx()
    queued.plot(at, [moment.unfinished for moment in moments], color=COLOURS[2], label="unfinished jobs")
    queued.set_ylabel("jobs")
    queued.legend(loc="upper right", fontsize=8)
    names = sorted({name for moment in moments for name in moment.memory_mb})
    memory.stackplot(
        at, [[moment.memory_mb.get(name, 0.0) for moment in moments] for name in names], labels=names, lw=0
    )
    memory.set_ylabel("memory (PSS), MB")
    memory.set_xlabel("seconds")
    for axis in axes:
        axis.legend(loc="center left" if axis is flow else "upper left", fontsize=8, ncols=2)
        axis.set_ylim(bottom=0) if axis is not times else None
    figure.savefig(path, metadata={"Date": None})
