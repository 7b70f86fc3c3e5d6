"""The options with which audio is generated, as the server's API names them."""

from __future__ import annotations

import argparse
from typing import Any

from segue_client.commands.group import given, number, text

ALIGN = ("none", "phase", "beat")

OPTIONS = (
    "prompt",
    "duration_s",
    "prompt_duration_s",
    "seed",
    "cfg_coef",
    "temperature",
    "top_k",
    "top_p",
    "bpm",
    "key",
    "mood",
    "style",
    "model",
    "align",
    "crossfade_s",
    "match_loudness",
)


def add_generation(parser: argparse.ArgumentParser) -> None:
    """What `wanted` reads. What is not given is left to the server."""
    add = parser.add_argument
    add("--prompt", type=text, help="what it should sound like")
    add("--duration", dest="duration_s", type=number, metavar="SECONDS", help="of the new audio (10)")
    add("--seed", type=int, help="the same seed and request give the same audio")
    add("--bpm", type=number, help="a tempo to ask for")
    add("--key", type=text, help='a key to ask for, such as "F# minor"')
    add("--mood", type=text, help="a mood to ask for, such as calm")
    add("--style", type=text, help="a style to ask for, such as funk")
    add("--temperature", type=number, help="of sampling: higher is more daring (1.0)")
    add("--top-k", type=int, metavar="N", help="sample from the N likeliest tokens; 0: from all (250)")
    add(
        "--top-p", type=number, metavar="P", help="sample from the likeliest tokens that sum to P; 0: off (0)"
    )
    add("--cfg", dest="cfg_coef", type=number, metavar="COEF", help="how closely to keep to the prompt (3.0)")
    add("--model", type=text, help='one of "segue models"')
    parser.set_defaults(prompt_duration_s=None, align=None, crossfade_s=None, match_loudness=None)


def add_context(parser: argparse.ArgumentParser) -> None:
    """`--prompt-duration`: a take continues from audio, a root does not."""
    parser.add_argument(
        "--prompt-duration",
        dest="prompt_duration_s",
        type=number,
        metavar="SECONDS",
        help="how much of the line's end the model continues from (10)",
    )


def add_seam(parser: argparse.ArgumentParser) -> None:
    """How a take is joined to what it continues from."""
    add = parser.add_argument
    add("--align", choices=ALIGN, help="lay nothing, phase or beats of the take on the parent's (phase)")
    add("--crossfade", dest="crossfade_s", type=number, metavar="SECONDS", help="at the seam; 0: none (0.15)")
    add(
        "--match-loudness",
        action=argparse.BooleanOptionalAction,
        help="begin as loud as the parent ends and stay as loud as the line (yes)",
    )


def add_watch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--watch", action=argparse.BooleanOptionalAction, default=True, help="wait until it is made"
    )


def wanted(args: argparse.Namespace) -> dict[str, Any]:
    """The request's body, as far as it is the same for takes and roots."""
    return given(args, OPTIONS)
