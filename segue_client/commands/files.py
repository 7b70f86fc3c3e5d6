"""What ends in files or facts: exports, downloads, originals, stems, tracks taken apart, analyses, provenance."""

from __future__ import annotations

import argparse
from pathlib import Path

from segue_client import works
from segue_client.answers import Misused
from segue_client.client import SegueClient
from segue_client.commands.exporting import add_export
from segue_client.commands.following import followed_job
from segue_client.commands.group import (
    FORMATS,
    Commands,
    add_output,
    given,
    number,
    output,
    require_folder,
    require_writable,
    text,
)
from segue_client.lines import analysis_lines, json_text
from segue_client.terminal import Terminal


def add_commands(commands: Commands) -> None:
    add_export(commands)

    sub = commands.add("download", download, "one node's own audio as a file", "chain", "node")
    add_output(sub)
    sub.add_argument(
        "--line", action="store_true", help="with all before it, as an export sounds: 32-bit float WAV"
    )

    sub = commands.add("original", original, "an uploaded file, byte for byte as it came", "chain")
    sub.add_argument("--node", metavar="NODE", type=text, help="(the chain's root)")
    sub.add_argument("--out", metavar="FILE", type=Path, required=True)

    commands.add("analyse", analyse, "what a node sounds like: tempo, key, mood, style", "chain", "node")
    commands.add("provenance", provenance, "what made a node, as JSON", "chain", "node")

    sub = commands.add("stems", stems, "one node's stems as files", "chain", "node")
    sub.add_argument("--out", metavar="FOLDER", type=Path, required=True)
    sub.add_argument("--format", choices=FORMATS, default="wav")
    _add_separation(sub)

    sub = commands.add("process", process, "take a track apart: stems, harmonic and percussive part, backing")
    sub.add_argument("file", metavar="FILE", type=Path, nargs="?")
    sub.add_argument(
        "--job", metavar="JOB", type=text, help="fetch from a job that was begun before, without FILE"
    )
    sub.add_argument("--out", metavar="FOLDER", type=Path, required=True)
    sub.add_argument(
        "--tracks", metavar="NAMES", type=_names, default=[], help="only these, with commas (all)"
    )
    sub.add_argument("--format", choices=FORMATS)
    sub.add_argument("--bit-depth", type=int, metavar="BITS", help="wav: 16, 24 or 32; flac: 16 or 24")
    sub.add_argument("--normalize", choices=("off", "peak", "lufs"), help="of the copies at one loudness")
    sub.add_argument("--target-db", type=number, metavar="DB", help="dBTP (peak) or LUFS (lufs)")
    for name in ("harmonic-percussive", "composite"):
        sub.add_argument(f"--{name}", action=argparse.BooleanOptionalAction)
    _add_separation(sub)


def _add_separation(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=text, help="a separation model that is served")
    parser.add_argument("--two-stems", type=text, metavar="STEM", help="only this one and all the rest")
    parser.add_argument("--shifts", type=int, metavar="N", help="the mean of N shifted passes (0)")


SEPARATION = ("model", "two_stems", "shifts")
PROCESSING = (
    *SEPARATION,
    "format",
    "bit_depth",
    "normalize",
    "target_db",
    "harmonic_percussive",
    "composite",
)


def download(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    out, audio_format = output(args)
    if args.line and audio_format != "wav":
        raise Misused("a line comes as WAV: export the committed one for other formats")
    chain = client.chain(args.chain)
    node = chain.node(args.node)
    if args.line:
        client.line(chain.id, node.id, out)
    else:
        client.download(chain.id, node.id, out, audio_format)
    terminal.say(str(out))


def original(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    require_writable(args.out)
    chain = client.chain(args.chain)
    client.original(chain.id, chain.node(args.node or chain.root_id).id, args.out)
    terminal.say(str(args.out))


def analyse(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    chain = client.chain(args.chain)
    node = chain.node(args.node)
    with followed_job(terminal, "analysis") as on_progress:
        found = works.analyse(client, chain.id, node.id, on_progress)
    for line in analysis_lines(found):
        terminal.say(line)


def provenance(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    chain = client.chain(args.chain)
    terminal.say(json_text(client.provenance(chain.id, chain.node(args.node).id)))


def stems(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    require_folder(args.out)
    chain = client.chain(args.chain)
    node = chain.node(args.node)
    wanted = given(args, SEPARATION)
    with followed_job(terminal, "stems") as on_progress:
        files = works.stems(client, chain.id, node.id, wanted, args.out, args.format, on_progress)
    for file in files:
        terminal.say(str(file))


def process(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    options = given(args, PROCESSING)
    if (args.file is None) == (args.job is None):
        raise Misused("process takes either a FILE or --job JOB")
    if args.job is not None and options:
        raise Misused("with --job nothing is begun, so it takes no options but --tracks and --out")
    require_folder(args.out)
    if args.job is not None:
        job_id = client.job(args.job).id
    else:
        fields = {
            name: str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in options.items()
        }
        job_id = works.send_track(client, args.file, fields)
        terminal.note(f"job {job_id}")
    with followed_job(terminal, "process") as on_progress:
        for file in works.fetch_tracks(client, job_id, args.tracks, args.out, on_progress):
            terminal.say(str(file))


def _names(value: str) -> list[str]:
    return [name.strip() for name in text(value).split(",") if name.strip()]
