"""`segue export`: a line as one file, with everything that a musician may ask of it."""

from __future__ import annotations

import argparse
import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from segue_client import works
from segue_client.answers import ClientError, Job, Misused
from segue_client.client import SegueClient
from segue_client.commands.following import followed_job
from segue_client.commands.group import (
    EXPORT_ENDINGS,
    Commands,
    add_output,
    given,
    number,
    output,
    require_writable,
    text,
)
from segue_client.terminal import Terminal

CREDENTIALS_SUFFIX = ".c2pa"
MAX_COVER_BYTES = 10 * 2**20

_PICTURES = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"RIFF": "webp"}
_OPTIONS = (
    "bit_depth",
    "sample_rate_hz",
    "bitrate",
    "loudness_lufs",
    "true_peak_dbtp",
    "fade_in_s",
    "fade_out_s",
    "tail_s",
    "title",
    "picture",
    "size",
    "fps",
    "loop",
)


def add_export(commands: Commands) -> None:
    sub = commands.add("export", export, "the committed line as one file", "chain")
    add_output(sub, EXPORT_ENDINGS)
    sub.add_argument("--node", metavar="NODE", type=text, help="the line up to this node (the spine)")
    for name in ("from", "to"):
        what = "begins" if name == "from" else "ends"
        sub.add_argument(f"--{name}", metavar="WHERE", type=text, help=f"where it {what}: seconds, or a node")
    sub.add_argument("--bit-depth", type=int, metavar="BITS", help="wav: 16, 24 or 32; flac, aiff: 16 or 24")
    sub.add_argument("--sample-rate", dest="sample_rate_hz", type=int, metavar="HZ", help="(the chain's own)")
    sub.add_argument("--bitrate", metavar="RATE", type=text, help="mp3: 320k or v0; opus, m4a: 96k to 320k")
    sub.add_argument("--loudness", dest="loudness_lufs", type=number, metavar="LUFS", help="(as it is)")
    sub.add_argument("--true-peak", dest="true_peak_dbtp", type=number, metavar="DBTP", help="the ceiling")
    for name, what in (("fade-in", "fade in"), ("fade-out", "fade out"), ("tail", "silence at the end")):
        sub.add_argument(
            f"--{name}", dest=f"{name.replace('-', '_')}_s", type=number, metavar="SECONDS", help=what
        )
    sub.add_argument(
        "--mix", type=_mix, metavar="STEMS", help="stems and their gains in dB: drums=0,vocals=-6"
    )
    sub.add_argument("--title", type=text, help="(the chain's)")
    sub.add_argument(
        "--tag",
        type=_tag,
        action="append",
        default=[],
        metavar="NAME=TEXT",
        help="artist, album, comment, date, genre, key or bpm; may be repeated",
    )
    sub.add_argument("--cover", metavar="FILE", type=Path, help="a PNG, JPEG or WebP")
    sub.add_argument("--picture", type=text, help="mp4: waveform or spectrogram")
    sub.add_argument("--size", type=text, metavar="WxH", help="mp4: 1920x1080, 1080x1920, 1080x1080, …")
    sub.add_argument("--fps", type=int, help="mp4: frames a second (30)")
    sub.add_argument("--loop", action="store_true", default=None, help="mp4: a silent clip to be repeated")
    sub.add_argument(
        "--c2pa",
        action="store_true",
        help="content credentials too: FILE with the ending .c2pa, where the file cannot hold them itself",
    )


def export(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    out, export_format = output(args, EXPORT_ENDINGS)
    beside = out.with_suffix(CREDENTIALS_SUFFIX)
    if args.c2pa:
        require_writable(beside)
    wanted: dict[str, Any] = {"format": export_format, **given(args, _OPTIONS)}
    if args.mix is not None:
        wanted["mix"] = dict(args.mix)
    if args.tag:
        wanted["tags"] = dict(args.tag)
    if args.cover is not None:
        wanted["cover"] = _data_url(args.cover)
    chain = client.chain(args.chain)
    if args.node is not None:
        wanted["node_id"] = chain.node(args.node).id
    for name in ("from", "to"):
        where = getattr(args, name)
        if where is not None:
            wanted[name] = _seconds(where) if _is_number(where) else chain.node(where).id
    with followed_job(terminal, "export") as on_progress:
        job = works.export(client, chain.id, wanted, out, on_progress)
    terminal.say(str(out))
    for line in _report_lines(job):
        terminal.note(line)
    if args.c2pa:
        _fetch_credentials(client, job, out, beside, terminal)


def _fetch_credentials(
    client: SegueClient, job: Job | None, out: Path, beside: Path, terminal: Terminal
) -> None:
    """Raises ClientError where the server has not signed the file."""
    result = (job.result if job is not None else None) or {}
    match result.get("content_credentials"):
        case "beside":
            works.fetch_credentials(client, str(result["export_id"]), beside)
            terminal.say(str(beside))
        case "inside":
            terminal.note(f"the content credentials are in {out.name} itself")
        case _:
            raise ClientError(f"{out.name} has no content credentials: this server does not sign exports")


def _report_lines(job: Job | None) -> list[str]:
    """What a musician wants to know of the file: its loudness, what was cut, and a licence that forbids sale."""
    result = (job.result if job is not None else None) or {}
    lines = []
    loudness = result.get("loudness")
    if loudness and loudness.get("output_lufs") is not None:
        decoded = loudness.get("decoded") or {}
        peak = decoded.get("true_peak_dbtp", loudness["output_true_peak_dbtp"])
        lines.append(f"{loudness['output_lufs']:.1f} LUFS, true peak {peak:.1f} dBTP")
    if clipped := result.get("clipped_samples"):
        lines.append(f"{clipped} samples were over full scale and are cut there")
    if result.get("non_commercial"):
        lines.append(f"licence: {result['licence']}")
    return lines


def _data_url(file: Path) -> str:
    """Raises ClientError for a file that is no picture or too large, OSError."""
    with file.open("rb") as opened:
        data = opened.read(MAX_COVER_BYTES + 1)
    kind = next((name for begin, name in _PICTURES.items() if data.startswith(begin)), None)
    if kind is None:
        raise ClientError(f"{file} is not a PNG, JPEG or WebP")
    if len(data) > MAX_COVER_BYTES:
        raise ClientError(f"{file} is larger than {MAX_COVER_BYTES // 2**20} MB")
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _pairs(what: str, convert: Callable[[str], Any]) -> Callable[[str], Sequence[tuple[str, Any]]]:
    def parse(value: str) -> Sequence[tuple[str, Any]]:
        pairs = [part.partition("=") for part in text(value).split(",")]
        if not all(name.strip() and mark for name, mark, _ in pairs):
            raise argparse.ArgumentTypeError(f"not {what}: {value!r}")
        return [(name.strip(), convert(rest.strip())) for name, _, rest in pairs]

    return parse


_mix = _pairs("stems with gains, as drums=0,vocals=-6", number)


def _tag(value: str) -> tuple[str, Any]:
    name, mark, rest = text(value).partition("=")
    if not mark or not name.strip():
        raise argparse.ArgumentTypeError(f"not a tag, as artist=Name: {value!r}")
    return name.strip(), number(rest) if name.strip() == "bpm" else rest


def _is_number(value: str) -> bool:
    """A node's id may be all digits, but is longer than a line's seconds."""
    return len(value) < 8 and value.replace(".", "", 1).replace("-", "", 1).isdigit()


def _seconds(value: str) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise Misused(f"not a time in seconds: {value}") from error
