"""Uploads per second, and what they leave in the memory of the ingress."""

from __future__ import annotations

import tempfile
import uuid
from pathlib import Path

import numpy as np

from benchmarks.kit.child import Child
from benchmarks.kit.studio import RATE_HZ, Studio
from benchmarks.kit.summary import Summary
from benchmarks.kit.tables import Row, Table
from tests.serve.server import Server
from tests.support.clips import encoded, music

BYTES_PER_S = RATE_HZ * 2 * 2
PHRASE_S = 2
MEGABYTES = (1, 30)
CLIENTS = (1, 4)


def measure(studio: Studio, server: Server, small: int, large: int) -> Table:
    """`small` and `large`: how many uploads of 1 and 30 MB each client makes."""
    counts = dict(zip(MEGABYTES, (small, large), strict=True))
    with tempfile.TemporaryDirectory(prefix="segue-bench-") as folder, Child("benchmarks.kit.load") as client:
        rows = [
            _row(studio, server, client, Path(folder, "body"), megabytes, clients, counts[megabytes])
            for megabytes in MEGABYTES
            for clients in CLIENTS
        ]
    return Table(
        "uploads",
        "Uploads",
        "16-bit stereo WAV at 44.1 kHz, from the first byte sent to the 201: spooled, decoded in a "
        "subprocess, kept as the original and as float32, the chain made. Latency in milliseconds; resident "
        "memory of the ingress replica in MB before and after, and the peak since the replica started.",
        rows,
    )


def _row(
    studio: Studio, server: Server, client: Child, body_file: Path, megabytes: int, clients: int, uploads: int
) -> Row:
    boundary = uuid.uuid4().hex
    body_file.write_bytes(form(boundary, megabytes))
    (ingress,) = server.pids("ray::ServeReplica:segue:Ingress")
    before_mb = _memory_mb(ingress, "VmRSS")
    ran = client.ask(
        port=studio.port,
        method="POST",
        path="/v1/chains",
        headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
        body_file=str(body_file),
        status=201,
        connections=clients,
        requests=uploads,
        warm_up=0,
    )
    latency = Summary.in_ms(ran["latencies_s"])
    per_s = latency.count / ran["wall_s"]
    return {
        "file": f"{megabytes} MB",
        "clients": clients,
        "uploads": latency.count,
        "uploads/s": per_s,
        "MB/s": per_s * megabytes,
        "p50": latency.median,
        "p95": latency.p95,
        "memory before": before_mb,
        "memory after": _memory_mb(ingress, "VmRSS"),
        "memory peak": _memory_mb(ingress, "VmHWM"),
    }


def form(boundary: str, megabytes: int) -> bytes:
    repeats = -(-megabytes * 1_000_000 // (PHRASE_S * BYTES_PER_S))
    clip = encoded(np.tile(music(PHRASE_S, RATE_HZ), (1, repeats)), RATE_HZ, "wav")
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="clip.wav"\r\n'
        "Content-Type: audio/wav\r\n\r\n"
    )
    return head.encode() + clip + f"\r\n--{boundary}--\r\n".encode()


def _memory_mb(pid: int, figure: str) -> float:
    """VmRSS (resident now) or VmHWM (the most it ever was) of a process, in megabytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{figure}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError(f"process {pid} has no {figure}")
