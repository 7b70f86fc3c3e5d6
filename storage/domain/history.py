"""Undo and redo of what a musician decided: the chain keeps the inverse of its last decisions, in both directions.

A step says what it expects and what it makes of it, so it applies only where everything that it touches is still as
the decision left it. Undo and redo are changes like any other: one version each, and events tell of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from storage.domain.edits import require_alive
from storage.domain.model import Action, Chain, Decision, History, Node, NodeChange, Refused, Step
from storage.domain.tree import children_of

MAX_STEPS = 50
MAX_NODE_CHANGES = 2000
"""In all steps of one direction together: they are in the chain's document. The newest step is always kept."""

MAX_REQUESTS = 16

_FIELDS = ("decision", "discarded_in", "title", "stars", "note")
"""What decisions change in a node, and nothing else does."""


def recorded(before: Chain, after: Chain, action: Action, node_id: str | None, now: datetime) -> Chain:
    """`after`, the result of a decision, with the way back; what was undone cannot be redone any more.

    A decision that changed nothing leaves no step.
    """
    if after is before:
        return after
    step = _way_back(before, after, Step(action, node_id, now))
    history = before.history
    return replace(after, history=replace(history, undo=_bounded((*history.undo, step)), redo=()))


def undo(chain: Chain, now: datetime, *, request: str | None = None, at: datetime | None = None) -> Chain:
    """Take the last decision back. `request` names the request: the same one again is no change. `at` is the time
    of the decision that is meant.

    Raises Refused where there is none, where the last one is another, or where it does not apply any more (then
    nothing is changed); ChainDeleted.
    """
    return _go(chain, now, request, at, back=True)


def redo(chain: Chain, now: datetime, *, request: str | None = None, at: datetime | None = None) -> Chain:
    """Do again what was undone last. Raises as `undo`."""
    return _go(chain, now, request, at, back=False)


def next_undo(chain: Chain) -> Step | None:
    """The step that an undo would take back; None where it would be refused."""
    return _next(chain, chain.history.undo)


def next_redo(chain: Chain) -> Step | None:
    return _next(chain, chain.history.redo)


def _go(chain: Chain, now: datetime, request: str | None, at: datetime | None, *, back: bool) -> Chain:
    require_alive(chain)
    history = chain.history
    if request is not None and request in history.requests:
        return chain
    steps = history.undo if back else history.redo
    word = "undo" if back else "redo"
    if not steps:
        raise Refused(f"there is nothing to {word}")
    step = steps[-1]
    if at is not None and at != step.at:
        raise Refused(f"another decision was made since: what there is to {word} now is a {step.action}")
    changed = _applied(chain, step, now)
    other = _way_back(chain, changed, Step(step.action, step.node_id, step.at))
    requests = history.requests if request is None else (request, *history.requests)[:MAX_REQUESTS]
    left = steps[:-1]
    return replace(
        changed,
        history=History(left, _bounded((*history.redo, other)), requests)
        if back
        else History(_bounded((*history.undo, other)), left, requests),
    )


def _next(chain: Chain, steps: tuple[Step, ...]) -> Step | None:
    if chain.deleted_at is not None or not steps:
        return None
    try:
        _applied(chain, steps[-1], chain.updated_at)
    except Refused:
        return None
    return steps[-1]


def _applied(chain: Chain, step: Step, now: datetime) -> Chain:
    """The next version of the chain, with the step taken. Raises Refused."""
    version = chain.version + 1
    changed: dict[str, Node] = {}
    for change in step.nodes:
        node = chain.find(change.node_id)
        if node is None or any(getattr(node, name) != value for name, value in _fields(change.before)):
            raise Refused(f"the {step.action} cannot be taken back: node {change.node_id} was changed since")
        changed[node.id] = replace(node, changed_version=version, **dict(_fields(change.after)))
    if step.title is not None and chain.title != step.title[0]:
        raise Refused(f"the {step.action} cannot be taken back: the chain's title was changed since")
    if step.removes is not None:
        _require_bare(chain, step.removes)
    kept = tuple(changed.get(node.id, node) for node in chain.nodes if node.id != step.removes)
    added = () if step.adds is None else (replace(step.adds, changed_version=version),)
    after = replace(
        chain,
        version=version,
        updated_at=now,
        title=chain.title if step.title is None else step.title[1],
        nodes=kept + added,
        removed_version=chain.removed_version if step.removes is None else version,
    )
    for wrong in _unlawful(after, changed):
        raise Refused(f"the {step.action} cannot be taken back: {wrong}")
    return after


def _require_bare(chain: Chain, node_id: str) -> None:
    """Raises Refused for a crop that something was made of."""
    node = chain.find(node_id)
    if node is None:
        raise Refused(f"there is no crop {node_id} any more")
    if node.decision is not Decision.CANDIDATE or children_of(chain, node_id) or node.derived:
        raise Refused(
            f"the crop {node_id} was used since: takes continue from it, or it was analysed; discard it"
        )
    if any(other.cropped_from is not None and other.cropped_from.node_id == node_id for other in chain.nodes):
        raise Refused(f"the crop {node_id} was cropped again since; discard it")


def _unlawful(chain: Chain, changed: Mapping[str, Node]) -> Iterator[str]:
    """What forbids the chain, where these nodes have changed."""
    nodes, children = {node.id: node for node in chain.nodes}, defaultdict[str | None, list[Node]](list)
    for node in chain.nodes:
        children[node.parent_id].append(node)
    for node in changed.values():
        if node.decision is Decision.DISCARDED:
            for below in children[
                node.id
            ]:  # what is below these is discarded with them, or has changed itself
                if below.decision is not Decision.DISCARDED:
                    yield f"node {below.id} continues from it now"
            if not all(
                status.is_finished for status in (node.status, *(made.status for made in node.derived))
            ):
                yield f"something is being made of node {node.id}"
        parent = nodes[node.parent_id] if node.parent_id is not None else None
        if parent is not None and parent.decision is Decision.DISCARDED is not node.decision:
            yield f"node {node.id} continues from node {parent.id}, which is discarded"
        if node.decision is Decision.COMMITTED:
            beside = [one.id for one in children[node.parent_id] if one.decision is node.decision]
            if len(beside) > 1 or (parent is not None and parent.decision is not Decision.COMMITTED):
                yield f"node {node.id} has no place on the spine any more"
    if changed and all(node.decision is not Decision.COMMITTED for node in children[None]):
        yield "the spine would begin nowhere"


def _way_back(before: Chain, after: Chain, step: Step) -> Step:
    """The step with what leads from `after` to `before`."""
    old = {node.id: node for node in before.nodes}
    new = {node.id: node for node in after.nodes}
    changes = tuple(
        NodeChange(node.id, _record(node, differing), _record(old[node.id], differing))
        for node in after.nodes
        if node.id in old and (differing := _differing(old[node.id], node))
    )
    return replace(
        step,
        nodes=changes,
        title=None if before.title == after.title else (after.title, before.title),
        removes=next((node_id for node_id in new if node_id not in old), None),
        adds=next((node for node in before.nodes if node.id not in new), None),
    )


def _differing(one: Node, other: Node) -> list[str]:
    return [name for name in _FIELDS if getattr(one, name) != getattr(other, name)]


def _record(node: Node, names: list[str]) -> Mapping[str, Any]:
    values = {name: getattr(node, name) for name in names}
    return {name: value.value if isinstance(value, Decision) else value for name, value in values.items()}


def _fields(record: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        yield name, Decision(value) if name == "decision" else value


def _bounded(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    kept, size = 0, 0
    for step in reversed(steps[-MAX_STEPS:]):
        size += len(step.nodes)
        if kept and size > MAX_NODE_CHANGES:
            break
        kept += 1
    return steps[len(steps) - kept :]
