"""What several requests and answers share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any

from annotated_types import GroupedMetadata
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationInfo,
    WithJsonSchema,
)

from deployments.export.formats import AUDIO_FORMATS, FORMATS
from deployments.export.gain import downloaded_gain_db
from storage.domain.jobs import Job, JobState
from storage.domain.model import Derived, Failure, Node, NodeStatus, Track
from storage.domain.records import format_time
from storage.repositories.pages import DamagedRecord

MAX_TITLE_CHARS = 200


@dataclass(frozen=True, slots=True)
class Outlook:
    """Of an unfinished job: its place in the queue, 1 for the next (None once it runs), and the seconds until its
    end; None where it is not known."""

    queue_position: int | None = None
    eta_s: float | None = None


UNKNOWN = Outlook()


@dataclass(frozen=True, slots=True)
class ProgressOf:
    """The last progress reported by a claim, by the job's id and the claim's fence; the latest of any claim on a
    job, 0 if there was none; and the forecast for a job."""

    heard: Callable[[str, int], float | None]
    latest: Callable[[str], float] = lambda job_id: 0.0
    outlook: Callable[[str], Outlook] = lambda job_id: UNKNOWN

    def __call__(self, job_id: str, fence: int) -> float | None:
        return self.heard(job_id, fence)


def _without_surrogates(text: str) -> str:
    """Lone surrogates can come in through JSON escapes and could not be stored as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("not valid Unicode text") from error
    return text


FROM_TEXT: dict[str, bool] = {"from_text": True}
"""The context in which a form's fields are validated: they are all text, numbers too."""


def _is_text(info: ValidationInfo) -> bool:
    return bool((info.context or {}).get("from_text"))


def _a_number(value: Any, info: ValidationInfo) -> Any:
    """Without this `true` would be the number 1, and `"7"` 7."""
    if isinstance(value, bool) or (isinstance(value, str) and not _is_text(info)):
        raise ValueError("must be a number")
    return value


def _a_boolean(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, bool) and not _is_text(info):
        raise ValueError("must be true or false")
    return value


Number = Annotated[FiniteFloat, BeforeValidator(_a_number)]
Integer = Annotated[int, BeforeValidator(_a_number)]
Flag = Annotated[bool, BeforeValidator(_a_boolean)]
Text = Annotated[str, AfterValidator(_without_surrogates)]
Title = Annotated[Text, Field(max_length=MAX_TITLE_CHARS, examples=["Night drive"])]


@dataclass(frozen=True, slots=True)
class OneOf(GroupedMetadata):
    """Annotates a text that is one of these, which are known only when the application runs."""

    known: tuple[str, ...]

    def __iter__(self) -> Iterator[object]:
        yield AfterValidator(self._check)
        yield WithJsonSchema({"type": "string", "enum": list(self.known)})

    def _check(self, value: str) -> str:
        if value not in self.known:
            raise ValueError(f"must be one of {', '.join(self.known)}")
        return value


AudioFormatName = Annotated[str, OneOf(AUDIO_FORMATS)]
"""What audio can be fetched as: the audio rows of the table of formats."""

ExportFormatName = Annotated[str, OneOf(tuple(FORMATS))]
"""What a line can be exported as: every row."""


class Request(BaseModel):
    """A request body: an unknown field is an error, so that no misspelt one is silently ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ErrorView(BaseModel):
    code: str
    detail: str


class DamagedView(BaseModel):
    """A record that is there and cannot be read: reading it is a problem, deleting it works."""

    id: str
    state: str = "damaged"
    created_at: str
    reason: str


def damaged_view(damaged: DamagedRecord) -> DamagedView:
    return DamagedView(id=damaged.id, created_at=format_time(damaged.created_at), reason=damaged.reason)


class AcceptedView(BaseModel):
    """Work that was accepted, or that was there already."""

    job_id: str
    job_ids: list[str]
    status: Annotated[str, Field(description="the job's state")]


class TrackView(BaseModel):
    """One signal that was made of another."""

    name: str
    format: str
    duration_s: float
    samples: int
    sample_rate_hz: int
    channels: int
    rms_dbfs: float
    peak_dbfs: float
    encoded_gain_db: Annotated[
        float, Field(description="of a FLAC or MP3 made of it; under 0 where it is over full scale")
    ]
    sha256: str
    size_bytes: int
    facts: dict[str, Any]
    url: str


def track_view(track: Track, url: str) -> TrackView:
    return TrackView(
        name=track.name,
        format=track.format,
        duration_s=track.duration_s,
        samples=track.samples,
        sample_rate_hz=track.sample_rate_hz,
        channels=track.channels,
        rms_dbfs=track.rms_dbfs,
        peak_dbfs=track.peak_dbfs,
        encoded_gain_db=downloaded_gain_db(track.peak_dbfs),
        sha256=track.blob.sha256,
        size_bytes=track.blob.size_bytes,
        facts=dict(track.facts),
        url=url,
    )


def accepted_view(job: Job) -> AcceptedView:
    return AcceptedView(job_id=job.id, job_ids=[job.id], status=job.state.value)


def error_view(error: Failure | None) -> ErrorView | None:
    return None if error is None else ErrorView(code=error.code, detail=error.detail)


def progress_of_work(made: Node | Derived, progress_of: ProgressOf) -> float:
    if made.status is NodeStatus.READY:
        return 1.0
    if made.status is NodeStatus.RUNNING and made.job_id is not None:
        return progress_of(made.job_id, made.fence) or 0.0
    return 0.0


def outlook_of_work(made: Node | Derived, progress_of: ProgressOf) -> Outlook:
    """Nothing of what has ended, and no place in the queue for what is running."""
    if made.status.is_finished or made.job_id is None:
        return UNKNOWN
    outlook = progress_of.outlook(made.job_id)
    return outlook if made.status is NodeStatus.PENDING else replace(outlook, queue_position=None)


def outlook_of_job(job: Job, progress_of: ProgressOf) -> Outlook:
    """As `outlook_of_work`."""
    if job.state.is_finished:
        return UNKNOWN
    outlook = progress_of.outlook(job.id)
    return outlook if job.state is JobState.QUEUED else replace(outlook, queue_position=None)


def progress_of_job(job: Job, progress_of: ProgressOf) -> float:
    heard = progress_of(job.id, job.fence) if job.state is JobState.RUNNING else None
    return job.progress if heard is None else max(heard, job.progress)
