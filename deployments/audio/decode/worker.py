"""The program of the decoder's own process: limit itself, decode one file, answer with one line of JSON.

`deployments.audio.decode.isolated` starts it with a `Task` as its argument. Decoders are loaded only after the
limits are in force; what cannot be answered (the process is killed, or crashes) shows in its exit status.
"""

from __future__ import annotations

import errno
import json
import math
import resource
import signal
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deployments.audio.decode.errors import DISK_FULL_ERRNOS, AudioError, DecoderBroken, DiskFull
from deployments.audio.decode.limits import DecodeLimits
from deployments.audio.decode.sniff import Container

_OPEN_FILES = 64
_GRACE_S = 2.0
"""The one who started the process ends it in time; what it does itself comes later and only if that one is gone."""


@dataclass(frozen=True, slots=True)
class Task:
    source: Path
    target: Path
    container: Container
    limits: DecodeLimits

    def to_json(self) -> str:
        fields = asdict(self) | {"source": str(self.source), "target": str(self.target)}
        return json.dumps(fields)

    @staticmethod
    def from_json(text: str) -> Task:
        fields = json.loads(text)
        return Task(
            Path(fields["source"]),
            Path(fields["target"]),
            Container(fields["container"]),
            DecodeLimits(**fields["limits"]),
        )


def main(argument: str) -> None:
    task = Task.from_json(argument)
    _limit_this_process(task.limits)
    print(json.dumps(_answer(task)), flush=True)


def _answer(task: Task) -> dict[str, Any]:
    try:
        from deployments.audio.decode.decoder import decode_to_wav  # only now are the decoders loaded

        return {"decoded": asdict(decode_to_wav(task.source, task.target, task.container, task.limits))}
    except AudioError as error:
        return {"error": error.to_json()}
    except MemoryError:
        return {"error": task.limits.too_much_memory().to_json()}
    except ImportError as error:
        if "failed to map" in str(error):  # no room for a library
            return {"error": task.limits.too_much_memory().to_json()}
        return {"error": DecoderBroken(f"the decoder cannot be loaded: {error}").to_json()}
    except OSError as error:
        if error.errno == errno.EFBIG:
            return {"error": task.limits.too_long().to_json()}
        if error.errno in DISK_FULL_ERRNOS:
            return {"error": DiskFull("there is no room on the disk for the decoded audio").to_json()}
        return {"error": DecoderBroken(f"the decoder cannot work: {error.strerror}").to_json()}


def _limit_this_process(limits: DecodeLimits) -> None:
    """Hard limits of the kernel: no way back, neither for this process nor for what it might start."""
    cpu_s = math.ceil(limits.timeout_s + _GRACE_S)
    for kind, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_FSIZE, limits.output_bytes),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
    ):
        _, hard = resource.getrlimit(kind)
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (allowed, allowed))
    signal.alarm(cpu_s)
