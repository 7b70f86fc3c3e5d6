"""From a chain and a request to what an export job is to make. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from deployments.audio.wav import BYTES_PER_SAMPLE, MAX_DATA_BYTES
from deployments.export.formats import Format, Kind, format_named
from deployments.export.licences import licence_of_line
from deployments.export.media_errors import WrongOption
from deployments.export.plan import ExportOptions, VideoOptions
from deployments.export.shaping import Shape, shaped_samples
from deployments.export.tags import MAX_TAG_CHARS, Tags
from deployments.export.wav_chunks import MAX_MARKERS
from deployments.stages.export.order import ExportOrder, LineNode, OtherTake, starts_of
from serve_app.exports.schemas import NewExport
from serve_app.http.problems import Conflict
from storage.domain.model import (
    BlobRef,
    Chain,
    Decision,
    Derived,
    DerivedKind,
    Node,
    NodeAudio,
    NodeStatus,
    Track,
)
from storage.domain.records import chain_to_record
from storage.domain.tree import path_to, spine

EDGE_S = 0.001
"""How far a region may lie outside of the line: what a client has rounded."""

MAX_TAKES = 64
"""Takes of a package: those of the line, then those beside it."""

MIN_TEMPO_CONFIDENCE = 0.5
_NAME_CHARS = 60


def line_of(chain: Chain, node_id: str | None) -> tuple[Node, ...]:
    """The nodes from the root to `node_id`, else the spine; all with audio. Raises Conflict, NodeNotFound."""
    nodes = path_to(chain, node_id) if node_id is not None else spine(chain)
    if node_id is None:
        nodes = tuple(node for node in nodes if node.audio is not None)
    for node in nodes:
        if node.audio is None:
            raise Conflict(f"node {node.id} is {node.status}: it has no audio yet", code="not-ready")
    if not nodes:
        raise Conflict("there is nothing to export yet")
    return nodes


def order_of(chain: Chain, nodes: Sequence[Node], wanted: NewExport, stem: str) -> ExportOrder:
    """Without the cover and the documents. `stem` is the file's name without its ending.

    Raises WrongOption, Conflict where a node has not been taken apart yet.
    """
    form = format_named(wanted.format)
    audio = [node.audio for node in nodes if node.audio is not None]
    if len(nodes) > MAX_MARKERS:
        raise WrongOption("node_id", f"A file holds at most {MAX_MARKERS} nodes, not {len(nodes)}.")
    start, end = _region(nodes, audio, wanted)
    stems = _stems(nodes, wanted, form)
    derived = [derivation for derivation, _ in stems]
    licence = licence_of_line(_licences(nodes, [each for each in derived if each is not None]))
    options = _options(chain, nodes, audio, wanted, form, start, end, licence)
    _check_length(options, audio[0].sample_rate_hz, end - start)
    is_package = form.kind is Kind.PACKAGE
    names = [_name(node, number) for number, node in enumerate(nodes, start=1)]
    return ExportOrder(
        nodes=tuple(
            LineNode(each, name, tracks, _analysis(node) if is_package else None)
            for node, each, name, (_, tracks) in zip(nodes, audio, names, stems, strict=True)
        ),
        options=options,
        filename=f"{stem}{form.suffix}",
        licence=licence,
        takes=_takes(chain, nodes, audio, names, start, end) if is_package else (),
    )


def documents_of(chain: Chain, nodes: Sequence[Node]) -> dict[str, Any]:
    """What a package says of the chain: the whole tree without keys of the store, and what made each node."""
    record = chain_to_record(chain)
    return {
        "chain": {
            "id": chain.id,
            "title": chain.title,
            "sample_rate_hz": chain.sample_rate_hz,
            "channels": chain.channels,
            "line": [node.id for node in nodes],
            "nodes": [
                {
                    "id": node.id,
                    "parent_id": node.parent_id,
                    "origin": node.origin.value,
                    "status": node.status.value,
                    "decision": node.decision.value,
                    "prompt": node.prompt,
                    "seed": node.seed,
                    "take": node.take,
                    "params": dict(node.params),
                    "created_at": kept["created_at"],
                    "duration_s": node.duration_s if node.audio is None else node.audio.duration_s,
                    "audio_sha256": None if node.audio is None else node.audio.sha256,
                }
                for node, kept in zip(chain.nodes, record["nodes"], strict=True)
            ],
        },
        "provenance": provenance_of(nodes),
    }


def provenance_of(nodes: Sequence[Node]) -> dict[str, Any]:
    """What made each node of a line, and the licence that all of them have together."""
    return {
        "licence": licence_of_line(_licences(nodes, [])),
        "nodes": [
            {"node_id": node.id, "origin": node.origin.value, **(node.provenance or {})} for node in nodes
        ],
    }


def _options(
    chain: Chain,
    nodes: Sequence[Node],
    audio: Sequence[NodeAudio],
    wanted: NewExport,
    form: Format,
    start: int,
    end: int,
    licence: str,
) -> ExportOptions:
    title = chain.title if wanted.title is None else wanted.title
    whole = starts_of(audio)[-1]
    if wanted.cover is not None and not form.takes_cover:
        raise WrongOption("cover", f"{form.title} has no place for a cover.")
    return ExportOptions(
        format=form.name,
        rate_hz=form.rate_for(wanted.sample_rate_hz or audio[0].sample_rate_hz),
        channels=audio[0].channels,
        bit_depth=wanted.bit_depth,
        bitrate=wanted.bitrate,
        start=start,
        end=None if end == whole else end,
        fade_in_s=wanted.fade_in_s,
        fade_out_s=wanted.fade_out_s,
        tail_s=wanted.tail_s,
        loudness_lufs=wanted.loudness_lufs,
        true_peak_dbtp=wanted.true_peak_dbtp,
        mix=None if wanted.mix is None else tuple(sorted(wanted.mix.items())),
        tags=_tags(chain, nodes, wanted, title, licence),
        video=_video(wanted, form, title),
    )


def _video(wanted: NewExport, form: Format, title: str) -> VideoOptions | None:
    given = {
        name: value for name in ("picture", "size", "fps") if (value := getattr(wanted, name)) is not None
    }
    if form.kind is Kind.VIDEO:
        return VideoOptions(**given, loop=wanted.loop, title=title)
    if wanted.loop:
        given["loop"] = True
    for name in given:
        raise WrongOption(name, f"{form.title} has no picture.")
    return None


def _tags(chain: Chain, nodes: Sequence[Node], wanted: NewExport, title: str, licence: str) -> Tags:
    heard = _heard(nodes)
    tags = wanted.tags
    comment = tags.comment
    if licence and not comment:
        comment = f"Made with Segue; licence of the model weights: {licence}"
    provenance = {
        "chain": chain.id,
        "nodes": _listed(node.id for node in nodes),
        "seed": _listed(str(node.seed) for node in nodes if node.seed is not None),
        "model": _listed(
            sorted({str(model) for node in nodes if (model := (node.provenance or {}).get("model"))})
        ),
    }
    return Tags(
        title=title,
        artist=tags.artist,
        album=tags.album,
        comment=comment,
        date=tags.date,
        genre=tags.genre,
        licence=licence,
        key=tags.key or str(heard.get("key") or ""),
        bpm=tags.bpm if tags.bpm is not None else heard.get("bpm"),
        provenance={name: text for name, text in provenance.items() if text},
    )


def _listed(values: Iterator[str] | Sequence[str]) -> str:
    """With commas, as many as a tag holds."""
    text = ""
    for value in values:
        longer = f"{text},{value}" if text else value
        if len(longer) > MAX_TAG_CHARS:
            break
        text = longer
    return text


def _heard(nodes: Sequence[Node]) -> dict[str, Any]:
    """Tempo and key of the first node in which they are sure enough."""
    found: dict[str, Any] = {}
    for node in nodes:
        for derived in node.derived:
            said = derived.summary
            if derived.kind is not DerivedKind.ANALYSIS or said is None:
                continue
            for name in ("bpm", "key"):
                if said.get(name) and float(said.get(f"{name}_confidence") or 0.0) >= MIN_TEMPO_CONFIDENCE:
                    found.setdefault(name, said[name])
    return found


def _region(nodes: Sequence[Node], audio: Sequence[NodeAudio], wanted: NewExport) -> tuple[int, int]:
    """Samples of the line. Raises WrongOption for a region that is empty or not in it."""
    starts, rate_hz = starts_of(audio), audio[0].sample_rate_hz

    def sample(field: str, value: float | str | None, otherwise: int, edges: Sequence[int]) -> int:
        if value is None:
            return otherwise
        if isinstance(value, str):
            for node, edge in zip(nodes, edges, strict=True):
                if node.id == value:
                    return edge
            raise WrongOption(field, f"There is no node {value[:40]!r} in the line.")
        length_s = starts[-1] / rate_hz
        if not -EDGE_S <= value <= length_s + EDGE_S:
            raise WrongOption(field, f"{value:g} s lies outside of the line, which lasts {length_s:.3f} s.")
        return min(starts[-1], max(0, round(value * rate_hz)))

    start = sample("from", wanted.start, 0, starts[:-1])
    end = sample("to", wanted.end, starts[-1], starts[1:])
    if start >= end:
        raise WrongOption("from", "The region is empty: it ends where it begins, or before.")
    return start, end


def _check_length(options: ExportOptions, rate_hz: int, samples: int) -> None:
    """What can be known before any work: fades that are too long, and files that no WAV could hold."""
    shape = Shape(options.rate_hz, options.fade_in_s, options.fade_out_s, options.tail_s)
    length = shaped_samples(shape, rate_hz, samples)
    if round(shape.fade_in_s * shape.rate_hz) + round(shape.fade_out_s * shape.rate_hz) > length:
        raise WrongOption("fade_out_s", f"The fades are longer than the {samples / rate_hz:.3f} s of audio.")
    longest = length + round(shape.tail_s * shape.rate_hz)
    if longest * options.channels * BYTES_PER_SAMPLE > MAX_DATA_BYTES:
        raise WrongOption("to", "That is more audio than one file can hold: export it in parts.")


def _stems(
    nodes: Sequence[Node], wanted: NewExport, form: Format
) -> list[tuple[Derived | None, tuple[Track, ...]]]:
    """Of each node the newest stems that all nodes have alike: all that a mix names, and for a package any."""
    none: list[tuple[Derived | None, tuple[Track, ...]]] = [(None, ()) for _ in nodes]
    if wanted.mix is None and form.kind is not Kind.PACKAGE:
        return none
    made = [
        [
            derived
            for derived in reversed(node.derived)
            if derived.kind is DerivedKind.STEMS and derived.status is NodeStatus.READY
        ]
        for node in nodes
    ]
    needed = set(wanted.mix or ())
    for candidate in made[0]:
        names = {track.name for track in candidate.tracks}
        alike = [
            next((each for each in of_node if {track.name for track in each.tracks} == names), None)
            for of_node in made
        ]
        if needed <= names and all(alike):
            return [
                (each, tuple(sorted(each.tracks, key=lambda track: track.name == "residual")))
                for each in alike
                if each is not None
            ]
    if wanted.mix is None:
        return none
    there = {track.name for of_node in made for each in of_node for track in each.tracks}
    if there and (unknown := sorted(needed - there)):
        raise WrongOption(
            "mix", f"No node has a stem {unknown[0][:40]!r}; there are {', '.join(sorted(there))}."
        )
    lacking = [node.id for node, of_node in zip(nodes, made, strict=True) if not of_node]
    raise Conflict(
        "a mix needs the same stems of every node of the line; take each apart first (POST …/nodes/{node}/stems)",
        code="stems-missing",
        members={"node_ids": lacking or [node.id for node in nodes]},
    )


def _licences(nodes: Sequence[Node], derived: Sequence[Derived]) -> Iterator[str]:
    for provenance in (*(node.provenance for node in nodes), *(each.provenance for each in derived)):
        if provenance is not None and "licence" in provenance:
            yield str(provenance["licence"])


def _analysis(node: Node) -> BlobRef | None:
    ready = [
        derived.document
        for derived in node.derived
        if derived.kind is DerivedKind.ANALYSIS and derived.document is not None
    ]
    return ready[-1] if ready else None


def _takes(
    chain: Chain,
    nodes: Sequence[Node],
    audio: Sequence[NodeAudio],
    names: Sequence[str],
    start: int,
    end: int,
) -> tuple[OtherTake, ...]:
    """The line's own takes, and ready ones beside it, as far as they sound in the region."""
    starts, rate_hz = starts_of(audio), audio[0].sample_rate_hz
    takes = [
        OtherTake(replace(each, lead_in=None), name, at)
        for each, name, at in zip(audio, names, starts, strict=False)
    ]
    begin_after = {node.id: starts[index + 1] for index, node in enumerate(nodes)}
    in_line = set(begin_after)
    for node in chain.nodes:
        beside = node.parent_id in begin_after and node.id not in in_line
        if not beside or node.audio is None or node.decision is Decision.DISCARDED:
            continue
        takes.append(
            OtherTake(
                replace(node.audio, lead_in=None),
                f"{_name(node, 0)} (take {node.id[:8]})",
                begin_after[str(node.parent_id)],
            )
        )
    return tuple(
        take
        for take in takes
        if take.at < end and take.at + round(take.audio.samples * rate_hz / take.audio.sample_rate_hz) > start
    )[:MAX_TAKES]


def _name(node: Node, number: int) -> str:
    """What a clip, a marker or a chapter is called: its title, what was asked for, or what was uploaded."""
    given = node.title or node.prompt or (node.audio.original_name if node.audio is not None else None) or ""
    words = " ".join(given.split())[:_NAME_CHARS].strip()
    return words or (f"Node {number}" if number else node.id[:8])
