"""From a validated body to a `BranchRequest`: the server's own bounds, each refusal naming its field."""

from __future__ import annotations

from typing import Any

from configs.settings import GenerationLimits
from deployments.audio.seam.joining import SHORTEST_CROSSFADE_S, Joining
from deployments.engines.analysis.pitch.keys import parse_key
from deployments.engines.music.protocol import GenerationMode
from deployments.stages.prompting import WISHES
from serve_app.chains.drafts import BranchRequest
from serve_app.chains.schemas import Generation, NewNodes
from serve_app.http.problems import FieldError, Unprocessable


def branch_request(
    limits: GenerationLimits,
    wanted: Generation,
    *,
    mode: GenerationMode,
    can_compose: bool = True,
    takes: int = 1,
) -> BranchRequest:
    """Raises Unprocessable for what is outside the server's bounds. `can_compose`: there is an analyser."""
    errors: list[FieldError] = []
    if not limits.min_duration_s <= wanted.duration_s <= limits.max_duration_s:
        errors.append(
            FieldError(
                "duration_s",
                f"must be {limits.min_duration_s:g} to {limits.max_duration_s:g}, not {wanted.duration_s}",
            )
        )
    if wanted.prompt_duration_s > limits.max_prompt_duration_s:
        errors.append(
            FieldError("prompt_duration_s", f"must be at most {limits.max_prompt_duration_s:g} seconds")
        )
    if len(wanted.prompt) > limits.max_prompt_chars:
        errors.append(FieldError("prompt", f"may have at most {limits.max_prompt_chars} characters"))
    if takes > limits.max_takes:
        errors.append(FieldError("takes", f"must be 1 to {limits.max_takes}, not {takes}"))
    if mode is GenerationMode.COMPOSE and not can_compose:
        errors.append(FieldError("mode", "compose needs an analyser, and none is served here"))
    joining = _joining(wanted)
    if joining is not None and not errors:
        errors += _crossfade_errors(limits, joining.crossfade_s, wanted.duration_s)
    wishes = _wishes(wanted)
    if "key" in wishes and parse_key(wishes["key"]) is None:
        errors.append(FieldError("key", "must be a key such as C, F# minor or Bbm"))
    if errors:
        detail = "; ".join(f"{error.field} {error.message}" for error in errors)
        raise Unprocessable(detail, errors=errors)
    return BranchRequest(
        prompt=wanted.prompt,
        duration_s=wanted.duration_s,
        mode=mode,
        prompt_duration_s=wanted.prompt_duration_s,
        cfg_coef=wanted.cfg_coef,
        temperature=wanted.temperature,
        top_k=wanted.top_k,
        top_p=wanted.top_p,
        seed=wanted.seed,
        takes=takes,
        model=wanted.model,
        wishes=wishes,
        joining=joining,
    )


def _joining(wanted: Generation) -> Joining | None:
    """None for a root: it is joined to nothing."""
    if not isinstance(wanted, NewNodes):
        return None
    return Joining(wanted.align, wanted.crossfade_s, wanted.match_loudness)


def _crossfade_errors(limits: GenerationLimits, crossfade_s: float, duration_s: float) -> list[FieldError]:
    if crossfade_s > duration_s:
        message = f"must be no longer than the take, {duration_s:g} seconds, not {crossfade_s:g}"
    elif crossfade_s > limits.max_crossfade_s:
        message = f"must be at most {limits.max_crossfade_s:g} seconds, not {crossfade_s:g}"
    elif 0.0 < crossfade_s < SHORTEST_CROSSFADE_S:
        message = f"must be {SHORTEST_CROSSFADE_S:g} seconds or more, or 0 for none, not {crossfade_s:g}"
    else:
        return []
    return [FieldError("crossfade_s", message)]


def _wishes(wanted: Generation) -> dict[str, Any]:
    said = {name: getattr(wanted, name, None) for name in WISHES}
    return {name: value for name, value in said.items() if value is not None}
