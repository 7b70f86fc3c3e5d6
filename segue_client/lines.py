"""Records as lines of text: chains, jobs, models, analyses. Nothing of what they say steers a terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from segue_client.answers import (
    Amounts,
    AuditEntry,
    Chain,
    Damaged,
    Diff,
    Job,
    Key,
    Model,
    Node,
    TenantUsage,
    Usage,
)
from segue_client.terminal import counted, format_words, printable

_CONTROLS = re.compile(r"[\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def chain_line(chain: Chain, short_id: str) -> str:
    facts = (
        short_id,
        chain.updated_at,
        f"{chain.spine_s:.1f} s",
        counted(len(chain.nodes), "node"),
        chain.title.strip() or "untitled",
    )
    return "  ".join(printable(fact) for fact in facts)


def damaged_line(record: Damaged, short_id: str) -> str:
    return f"{short_id}  {printable(record.created_at)}  damaged: {printable(record.reason, 300)}"


def crop_line(node: Node) -> str:
    """`0.500 s to 2.000 s of 1a2b3c4d, 1.500 s`"""
    of = node.cropped_from
    return (
        f"{of.from_s:.3f} s to {of.to_s:.3f} s of {of.node_id[:8]}, {node.duration_s:.3f} s"
        if of is not None
        else f"{node.duration_s:.3f} s"
    )


def diff_lines(diff: Diff) -> Iterator[str]:
    """What two branches share, each bar or window of them, and the parameters that differ."""
    yield f"from {diff.ancestor_id or 'the beginning'}, by {printable(diff.unit)}"
    for row in diff.rows:
        spans = "  ".join(
            f"{name} {from_s:.2f} to {to_s:.2f} s"
            if from_s is not None and to_s is not None
            else f"{name} ended"
            for name, from_s, to_s in (("a", row.a_from_s, row.a_to_s), ("b", row.b_from_s, row.b_to_s))
        )
        if row.same:
            yield f"{spans}  same"
        elif row.chroma is None or row.onsets is None or row.loudness is None:
            yield spans
        else:
            yield f"{spans}  chroma {row.chroma:.2f}, onsets {row.onsets:.2f}, loudness {row.loudness:.1f} LU"
    for each in diff.parameters:
        yield f"{printable(each.name)}: {printable(str(each.a))} / {printable(str(each.b))}"


def job_line(job: Job, short_id: str) -> str:
    state = job.state
    if job.state == "running" and job.progress is not None:
        state = f"running {job.progress:.0%}"
    state += outlook_words(job)
    if job.cancel_requested and not job.is_finished:
        state += ", asked to end"
    facts = (
        short_id,
        job.created_at,
        job.kind,
        state,
        f"chain {job.chain_id[:8]}" if job.chain_id else None,
        f"node {job.node_id[:8]}" if job.node_id else None,
        job.error.detail if job.error else None,
    )
    return "  ".join(printable(fact, 300) for fact in facts if fact)


def outlook_words(work: Job | Node) -> str:
    """Where unfinished work stands, as far as the server knows it, behind its state."""
    if work.is_finished:
        return ""
    place = "" if work.queue_position is None else f", number {work.queue_position} in the queue"
    return place if work.eta_s is None else f"{place}, {max(1, round(work.eta_s))} s left"


def model_line(kind: str, model: Model) -> str:
    state = model.status
    if model.total_bytes > 0:
        share = model.done_bytes / model.total_bytes
        state = f"{model.status} {share:.0%} of {model.total_bytes / 1e9:.2g} GB"
    facts = (
        model.name,
        "default" if model.default else None,
        state,
        model.detail,
        format_words(model.sample_rate_hz, model.channels),
        model.licence,
    )
    return f"{kind:<9} " + "  ".join(printable(fact, 300) for fact in facts if fact)


def analysis_lines(found: Mapping[str, Any]) -> list[str]:
    """An analysis in words: what is not known is left out."""
    rhythm, key, level = found.get("rhythm") or {}, found.get("key") or {}, found.get("level") or {}
    facts = {
        "tempo": _measured(rhythm.get("bpm"), "bpm", rhythm.get("confidence")),
        "key": _measured(key.get("name"), "", key.get("confidence")),
        "loudness": _measured(level.get("integrated_lufs"), "LUFS", None),
        "emotion": (found.get("emotion") or {}).get("label"),
        "style": (found.get("style") or {}).get("name"),
        "prompt": found.get("prompt"),
    }
    return [f"{name + ':':<10}{printable(str(fact), 300)}" for name, fact in facts.items() if fact]


def json_text(record: Mapping[str, Any]) -> str:
    """The record as JSON for people and programs: what is no plain text in it is escaped."""
    shown = json.dumps(record, indent=2, ensure_ascii=False)
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", shown)


def _measured(value: Any, unit: str, confidence: float | None) -> str | None:
    if value is None:
        return None
    shown = f"{value:.1f}" if isinstance(value, float) else str(value)
    sure = "" if confidence is None else f" ({confidence:.0%} sure)"
    return f"{shown} {unit}".strip() + sure


def key_line(key: Key) -> str:
    until = f"until {key.expires_at}" if key.expires_at is not None else ""
    facts = (key.id, key.state, key.tenant, key.tier, key.created_at, until, key.label)
    return "  ".join(printable(fact) for fact in facts if fact)


def amounts_line(amounts: Amounts) -> str:
    return (
        f"{counted(amounts.jobs, 'job')}  {amounts.gpu_s:.1f} s of models  {amounts.audio_s:.1f} s of audio  "
        f"{amounts.stored_bytes / 1e6:.1f} MB stored  {amounts.upload_bytes / 1e6:.1f} MB uploaded"
    )


def usage_lines(usage: Usage) -> list[str]:
    """The tenant, its limits, what unfinished work holds, then a line for each kind of work of each day."""
    tier = f", tier {usage.tier}" if usage.tier is not None else ""
    limits = "  ".join(f"{name} {value:g}" for name, value in usage.limits.items() if value is not None)
    head = [
        printable(f"{usage.tenant}{tier}, {usage.stored_bytes / 1e6:.1f} MB stored"),
        printable(f"limits: {limits or 'none'}"),
        f"held: {amounts_line(usage.held)}",
    ]
    days = [
        printable(f"{day.day}  {kind:8}  {amounts_line(amounts)}")
        for day in usage.days
        for kind, amounts in day.kinds.items()
    ]
    return head + days


def tenant_line(tenant: TenantUsage) -> str:
    facts = (
        tenant.tenant,
        f"{tenant.stored_bytes / 1e6:.1f} MB stored",
        f"today {amounts_line(tenant.today)}",
    )
    return "  ".join(printable(fact) for fact in facts)


def audit_line(entry: AuditEntry) -> str:
    who = f"{entry.tenant or 'nobody'}/{entry.key or '-'}"
    ids = " ".join(f"{name}={value}" for name, value in entry.ids.items())
    facts = (entry.at, who, entry.client or "-", entry.action, str(entry.status), ids, entry.sha256 or "")
    return "  ".join(printable(fact, 300) for fact in facts if fact)
