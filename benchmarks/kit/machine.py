"""What a run was made on, and how quiet it was there. No host names, no paths."""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

from benchmarks.kit.child import REPOSITORY
from benchmarks.kit.tables import Table

SPIN_S = 0.1
SPINS = 9
SETTLE_S = 2.0
FSYNCS = 50
NOISY_SPIN_RATIO = 1.1


def describe(packages: Sequence[str]) -> dict[str, str]:
    """Called before anything is started: the load is that of others."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "cpu": f"{_cpu_model()}, {os.cpu_count()} cores",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": platform.system(),
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
        "load before (1, 5, 15 min)": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "write + fsync of 4 KiB": f"{fsync_s() * 1000:.2f} ms (median of {FSYNCS})",
    }


def spin_ratio() -> float:
    """Wall time over CPU time of a busy loop: 1.0 where nobody else wants this core. The median of a few,
    begun when what went before has settled."""
    time.sleep(SETTLE_S)
    return median(_spin() for _ in range(SPINS))


def _spin() -> float:
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    while time.process_time() - cpu_s < SPIN_S:
        pass
    return (time.perf_counter() - wall_s) / (time.process_time() - cpu_s)


def quietness(probes: dict[str, float]) -> Table:
    """`probes`: what `spin_ratio` said, by the moment it was asked."""
    noisy = [moment for moment, ratio in probes.items() if ratio > NOISY_SPIN_RATIO]
    verdict = f"Noisy {', '.join(noisy)}: don't compare." if noisy else "Quiet at every probe."
    return Table(
        "quietness",
        "How quiet the machine was",
        f"Wall time over CPU time of a busy loop (median of {SPINS} of {SPIN_S:g} s) while nothing was "
        f"measured; 1.0 is a core for itself, above {NOISY_SPIN_RATIO:g} other work was in the way. {verdict}",
        [{"moment": moment, "wall / CPU": ratio} for moment, ratio in probes.items()],
    )


def fsync_s() -> float:
    """How long a small durable write takes: the local folder's store makes several for each change."""
    took_s = []
    with tempfile.TemporaryDirectory(prefix="segue-bench-") as folder:
        for index in range(FSYNCS):
            began_s = time.perf_counter()
            with Path(folder, str(index)).open("xb") as file:
                file.write(bytes(4096))
                file.flush()
                os.fsync(file.fileno())
            took_s.append(time.perf_counter() - began_s)
    return median(took_s)


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    """The commit, and whether files that are measured differ from it."""
    git = ["git", "-C", str(REPOSITORY)]
    try:
        commit = subprocess.check_output([*git, "rev-parse", "--short=12", "HEAD"], text=True).strip()
        measured = ["serve_app", "deployments", "storage", "configs"]
        changed = subprocess.check_output([*git, "status", "--porcelain", "--", *measured], text=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}, with uncommitted changes" if changed.strip() else commit
