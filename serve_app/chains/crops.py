"""Crops as clients ask for them: a range in seconds of a node's audio, as a node beside it."""

from __future__ import annotations

from datetime import timedelta

from configs.settings import JobSettings
from deployments.stages.node_audio import NodeSounds
from deployments.stages.peaks import PeaksStage
from serve_app.http.problems import FieldError, Unprocessable
from serve_app.jobs.idempotency import Earlier, request_hash, request_id
from storage.domain import crops
from storage.domain.crops import MIN_CROP_S
from storage.domain.model import Chain, CroppedFrom, Node, NodeAudio
from storage.repositories.blobs import Blobs
from storage.repositories.chains import Chains
from storage.stores.clock import Clock, utc_now


class CropService:
    def __init__(
        self,
        chains: Chains,
        blobs: Blobs,
        peaks: PeaksStage,
        settings: JobSettings,
        clock: Clock = utc_now,
    ) -> None:
        self._chains = chains
        self._sounds = NodeSounds(blobs)
        self._peaks = peaks
        self._ttl = timedelta(seconds=settings.idempotency_ttl_s)
        self._clock = clock

    async def crop(
        self, tenant: str, chain_id: str, node_id: str, from_s: float, to_s: float | None, key: str | None
    ) -> tuple[Chain, Node]:
        """A crop beside the node, and the chain with it; `to_s` None: up to the node's end.

        Raises ChainNotFound, NodeNotFound, Refused for a node that is not ready or is discarded, Unprocessable for
        a range that is no part of it, IdempotencyMismatch, BlobCorrupt.
        """
        chain = await self._chains.load(tenant, chain_id)
        source = chain.node(node_id)
        wanted = _range_of(source.id, crops.require_croppable(source), from_s, to_s)
        crop_id = await self._id(chain, wanted, key)
        if chain.find(crop_id) is None:
            crop = await self.draft(tenant, source, wanted, crop_id)
            chain = await self._chains.change(
                tenant, chain_id, lambda chain, now: crops.crop(chain, crop, now)
            )
        return chain, chain.node(crop_id)

    async def head(self, tenant: str, chain: Chain, node_id: str, at_s: float, crop_id: str) -> Node | None:
        """The node's first `at_s` seconds: the crop of just that which the chain has, else a new one of that id,
        which is not in the chain yet. None where that is all of the node.

        Raises NodeNotFound, Refused, Unprocessable, BlobCorrupt.
        """
        source = chain.node(node_id)
        audio = crops.require_croppable(source)
        samples = round(at_s * audio.sample_rate_hz)
        if samples == audio.samples:
            return None
        if at_s < MIN_CROP_S or samples > audio.samples:
            raise _unprocessable(
                FieldError("at_s", f"must be {MIN_CROP_S:g} to {audio.duration_s:g}, the node's length")
            )
        wanted = CroppedFrom(source.id, 0, samples)
        return crops.find_crop(chain, wanted) or await self.draft(tenant, source, wanted, crop_id)

    async def draft(self, tenant: str, source: Node, wanted: CroppedFrom, crop_id: str) -> Node:
        """A crop that is in no chain yet, with its outline. Raises Refused, BlobCorrupt."""
        audio = crops.require_croppable(source)
        measured = await self._sounds.measure(tenant, audio, wanted.first_sample, wanted.samples)
        crop = crops.cropped(
            crop_id,
            source,
            wanted.first_sample,
            wanted.samples,
            sha256=measured.sha256,
            rms_dbfs=measured.rms_dbfs,
            peak_dbfs=measured.peak_dbfs,
            now=self._clock(),
        )
        await self._peaks.of(tenant, crops.require_croppable(crop))
        return crop

    async def _id(self, chain: Chain, wanted: CroppedFrom, key: str | None) -> str:
        async def find(candidate: str) -> Earlier | None:
            node = chain.find(candidate)
            if node is None:
                return None
            made_by = None if node.cropped_from is None else _request_hash(node.cropped_from)
            return Earlier(made_by, node.created_at)

        return await request_id(
            tenant=chain.tenant,
            route=f"crop/{chain.id}",
            key=key,
            request_sha256=_request_hash(wanted),
            find=find,
            ttl=self._ttl,
            now=self._clock(),
        )


def _range_of(node_id: str, audio: NodeAudio, from_s: float, to_s: float | None) -> CroppedFrom:
    """Raises Unprocessable for a range that is no part of the audio, or too short a one."""
    length_s, rate_hz = audio.duration_s, audio.sample_rate_hz
    first_sample = round(from_s * rate_hz)
    end_sample = audio.samples if to_s is None else round(to_s * rate_hz)
    errors = [
        FieldError(name, f"lies outside: the node is {length_s:g} s long")
        for name, is_outside in (
            ("from_s", first_sample >= audio.samples),
            ("to_s", end_sample > audio.samples),
        )
        if is_outside
    ]
    if not errors and end_sample <= first_sample:
        errors.append(FieldError("to_s", "must be later than from_s"))
    if not errors and end_sample - first_sample < round(MIN_CROP_S * rate_hz):
        errors.append(FieldError("to_s", f"at least {MIN_CROP_S:g} s must be left"))
    if not errors and end_sample - first_sample == audio.samples:
        errors.append(FieldError("from_s", "from the node's beginning to its end, nothing is cut off"))
    if errors:
        raise _unprocessable(*errors)
    return CroppedFrom(node_id, first_sample, end_sample - first_sample)


def _unprocessable(*errors: FieldError) -> Unprocessable:
    return Unprocessable("; ".join(f"{error.field} {error.message}" for error in errors), errors=list(errors))


def _request_hash(wanted: CroppedFrom) -> str:
    return request_hash(
        {"node": wanted.node_id, "first_sample": wanted.first_sample, "samples": wanted.samples}
    )
