"""Work that takes a job and ends in files or facts: exports, analyses, stems, tracks taken apart.

Every function waits for its job, reports its progress, and raises ClientError; OSError where a file cannot be read
or written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import httpx

from segue_client.answers import (
    Accepted,
    Analysis,
    BadAnswer,
    Job,
    Manifest,
    NoSuchId,
    Outputs,
    Stems,
    Track,
    WorkFailed,
    check,
    read_answer,
)
from segue_client.client import SegueClient
from segue_client.connection import new_key, save

OnProgress = Callable[[Job], None]


def export(
    client: SegueClient, chain_id: str, wanted: Mapping[str, Any], target: Path, on_progress: OnProgress
) -> Job | None:
    """A line as one file; `wanted` is the request's body (`format`, ...). Returns its job, None where the server
    answered with the file at once."""
    headers = {**new_key(), "Prefer": "respond-async"}

    def ask() -> str | None:
        path = f"/v1/chains/{chain_id}/export"
        with client.connection.http.stream("POST", path, headers=headers, json=dict(wanted)) as response:
            check(response)
            if response.status_code == httpx.codes.ACCEPTED:
                response.read()
                return read_answer(Accepted, response).job_id
            save(response, target)  # a server that had it ready may answer with the file at once
            return None

    job_id = client.connection.retrying(ask)
    if job_id is None:
        return None
    job = _succeeded(client.finished_job(job_id, on_progress))
    export_id = (job.result or {}).get("export_id")
    if export_id is None:
        raise BadAnswer("the export is done, but the server does not say where it is")
    client.connection.fetch(f"/v1/exports/{export_id}/file", target)
    return job


def fetch_credentials(client: SegueClient, export_id: str, target: Path) -> None:
    """The C2PA manifest of an export whose file does not hold it."""
    client.connection.fetch(f"/v1/exports/{export_id}/c2pa", target)


def analyse(client: SegueClient, chain_id: str, node_id: str, on_progress: OnProgress) -> dict[str, Any]:
    """What the node sounds like. Its melody is left out."""
    path = f"/v1/chains/{chain_id}/nodes/{node_id}/analysis"
    accepted = client.connection.ask(Accepted, "POST", path, headers=new_key(), json={"melody": False})
    _succeeded(client.finished_job(accepted.job_id, on_progress))
    found = client.connection.ask(Analysis, "GET", path).analysis
    if found is None:
        raise BadAnswer("the analysis is done, but the server does not return it")
    return found


def stems(
    client: SegueClient,
    chain_id: str,
    node_id: str,
    wanted: Mapping[str, Any],
    folder: Path,
    audio_format: str,
    on_progress: OnProgress,
) -> list[Path]:
    """The node's stems as files in `folder`, which is made; `wanted` is the request's body (`model`, ...)."""
    path = f"/v1/chains/{chain_id}/nodes/{node_id}/stems"
    job_id = client.connection.ask(Accepted, "POST", path, headers=new_key(), json=dict(wanted)).job_id
    _succeeded(client.finished_job(job_id, on_progress))
    separations = client.connection.ask(Stems, "GET", path).separations
    tracks = next((made.tracks for made in separations if made.job_id == job_id), None)
    if tracks is None:
        raise BadAnswer("the stems are done, but the server does not list them")
    folder.mkdir(parents=True, exist_ok=True)
    files = {track.name: folder / f"{track.name}.{audio_format}" for track in tracks}
    for name, file in files.items():
        client.connection.fetch(f"{path}/{name}", file, {"format": audio_format, "job": job_id})
    return list(files.values())


def send_track(client: SegueClient, file: Path, fields: Mapping[str, str]) -> str:
    """Begins to take a track apart; returns the job's id. `fields` are the form's."""
    return client.connection.send_file(Accepted, "/process", file, dict(fields)).job_id


def fetch_tracks(
    client: SegueClient, job_id: str, names: Collection[str], folder: Path, on_progress: OnProgress
) -> Iterable[Path]:
    """What was made of a track, as files in `folder`, which is made, each as it is written. `names` empty: all.

    Raises NoSuchId, before it writes anything, for a name that is not among them; where all were wanted and a stage
    failed, WorkFailed after the last file.
    """
    job = client.finished_job(job_id, on_progress)
    manifest = client.connection.ask(Manifest, "GET", f"/job/{job_id}")
    failed = [stage for stage in manifest.stages if stage.state == "failed"]
    reasons = "; ".join(
        f"{stage.name} failed" + (f": {stage.error.detail}" if stage.error else "") for stage in failed
    )
    made: tuple[Track, ...] = client.connection.ask(Outputs, "GET", f"/job/{job_id}/outputs").outputs
    if not made:
        _succeeded(job)
    unknown = sorted(set(names) - {track.name for track in made})
    if unknown:
        there = ", ".join(track.name for track in made) or "none"
        raise NoSuchId(
            f"no track {', '.join(unknown)}; there are: {there}" + (f" ({reasons})" if reasons else "")
        )
    folder.mkdir(parents=True, exist_ok=True)
    for track in made:
        if not names or track.name in names:
            file = folder / f"{track.name}.{track.format}"
            client.connection.fetch(f"/download/{job_id}/{track.name}", file)
            yield file
    if names:
        return
    if reasons:
        raise WorkFailed(f"not all of it could be made: {reasons}")
    _succeeded(job)


def _succeeded(job: Job) -> Job:
    if job.state == "succeeded":
        return job
    reason = f": {job.error.detail}" if job.error else ""
    raise WorkFailed(f"job {job.id} {'was cancelled' if job.state == 'cancelled' else 'failed'}{reason}")
