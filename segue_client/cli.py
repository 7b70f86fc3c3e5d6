"""`segue`: the whole round from a terminal. Upload, branch, listen, commit, export.

Arguments to calls of `client`, answers to lines of `terminal`; nothing else.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from pathlib import Path

from segue_client.answers import Chain, ClientError, Node, Rejected, Unreachable, WorkFailed
from segue_client.client import SegueClient
from segue_client.terminal import Terminal, analysis_lines, length_line, printable, short_ids

DEFAULT_URL = "http://127.0.0.1:8000"
FORMATS = ("wav", "mp3", "flac")
MODES = ("continue", "text", "melody", "compose")
EXIT_ERROR, EXIT_INTERRUPTED = 1, 130

# Programs that play a file and end, with what keeps them to that.
_PLAYERS = (
    ("ffplay", "-nodisp", "-autoexit", "-loglevel", "error"),
    ("mpv", "--no-video", "--really-quiet"),
    ("pw-play",),
    ("paplay",),
    ("aplay", "-q"),
    ("afplay",),
)

Command = Callable[[SegueClient, argparse.Namespace, Terminal], None]


def default_url() -> str:
    """SEGUE_URL, else this machine. The only look that this command takes at the environment."""
    return os.environ.get("SEGUE_URL") or DEFAULT_URL


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 1 for an error, 130 after Ctrl-C (2 for wrong usage)."""
    args = parser().parse_args(argv)
    terminal = Terminal(sys.stdout, sys.stderr)
    command: Command = args.command
    try:
        with SegueClient(args.url) as client:
            command(client, args, terminal)
    except Unreachable as error:
        terminal.note(f"segue: {printable(str(error), 300)}")
        terminal.note('Start a server with "make run", or say where one is with --url or SEGUE_URL.')
        return EXIT_ERROR
    except Rejected as error:
        request = f" (request {printable(error.request_id)})" if error.request_id else ""
        terminal.note(f"segue: {printable(str(error), 1000)}{request}")
        return EXIT_ERROR
    except (ClientError, OSError) as error:
        terminal.note(f"segue: {printable(str(error), 1000)}")
        return EXIT_ERROR
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return 0


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(
        prog="segue",
        description="Continue music on a Segue server.",
        epilog="A chain or node may be named by the beginning of its id, as long as that is the only one.",
    )
    root.add_argument("--url", default=default_url(), help="the server (default: $SEGUE_URL, or %(default)s)")
    commands = root.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Command, summary: str, *positionals: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=summary, description=summary)
        for positional in positionals:
            sub.add_argument(positional, metavar=positional.upper())
        sub.set_defaults(command=command)
        return sub

    sub = add("upload", upload, "begin a chain with an audio file; prints the chain's id")
    sub.add_argument("file", metavar="FILE", type=Path)
    sub.add_argument("--title")

    sub = add("continue", continue_, "generate continuations of a node; prints the new nodes' ids", "chain")
    sub.add_argument("--node", metavar="PARENT", help="what to continue (default: the spine's end)")
    sub.add_argument("--prompt", default="", help="what it should sound like")
    sub.add_argument("--duration", type=float, default=10.0, metavar="SECONDS")
    sub.add_argument("--takes", type=int, default=1, metavar="N")
    sub.add_argument("--seed", type=int)
    sub.add_argument("--mode", choices=MODES, default="continue")
    sub.add_argument("--bpm", type=float, help="a tempo to ask for")
    sub.add_argument("--key", help='a key to ask for, such as "F# minor"')
    sub.add_argument("--model", help='one of "segue models"')
    sub.add_argument(
        "--watch", action=argparse.BooleanOptionalAction, default=True, help="wait for the takes"
    )

    sub = add("watch", watch, "show progress until nothing in the chain is being made", "chain")
    sub.add_argument("--follow", action="store_true", help="go on until Ctrl-C")

    add("commit", commit, "take a node into the spine", "chain", "node")
    add("discard", discard, "discard a node and what hangs from it", "chain", "node")

    sub = add("export", export, "the committed line as one file", "chain")
    sub.add_argument("--format", choices=FORMATS, help="default: as --out ends, else wav")
    sub.add_argument("--out", metavar="FILE", type=Path, required=True)

    sub = add("download", download, "one node's audio as a file", "chain", "node")
    sub.add_argument("--format", choices=FORMATS, help="default: as --out ends, else wav")
    sub.add_argument("--out", metavar="FILE", type=Path, required=True)

    sub = add("listen", listen, "play one node's audio", "chain", "node")
    sub.add_argument(
        "--stdout", action="store_true", help="write it to stdout instead, as WAV, while it is being made"
    )
    sub.add_argument("--player", metavar="COMMAND", help="a program that plays the file it is given")

    add("analyse", analyse, "what a node sounds like: tempo, key, mood, style", "chain", "node")

    sub = add("stems", stems, "one node's stems as files", "chain", "node")
    sub.add_argument("--out", metavar="FOLDER", type=Path, required=True)
    sub.add_argument("--format", choices=FORMATS, default="wav")
    sub.add_argument("--two-stems", metavar="STEM", help="only this one and all the rest")
    sub.add_argument("--model", help="a separation model that is served")

    add("chains", chains, "list chains")
    add("show", show, "draw a chain's tree", "chain")
    add("models", models, "list the models that are served")
    return root


def upload(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    chain = client.upload(args.file, args.title)
    terminal.say(chain.id)
    root = chain.node(chain.root_id)
    terminal.note(f"“{printable(chain.title)}”, {root.duration_s:.1f} s")


def continue_(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    chain = client.chain(args.chain)
    parent_id = chain.node(args.node).id if args.node else (chain.spine[-1:] or (chain.root_id,))[0]
    branch = client.branch(
        chain.id,
        parent_id=parent_id,
        prompt=args.prompt,
        duration_s=args.duration,
        takes=args.takes,
        seed=args.seed,
        mode=args.mode,
        model=args.model,
        bpm=args.bpm,
        key=args.key,
    )
    for node in branch.nodes:
        terminal.say(node.id)
    for notice in branch.notices:
        terminal.note(printable(notice))
    if args.watch:
        _watch(client, chain, terminal, {node.id for node in branch.nodes})


def watch(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    chain = client.chain(args.chain)
    _watch(client, chain, terminal, None, endless=args.follow)


def commit(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    chain = client.chain(args.chain)
    node = chain.node(args.node)
    chain = client.commit(chain.id, node.id)
    terminal.say(f"committed {node.id}; {length_line(chain)}")


def discard(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    chain = client.chain(args.chain)
    node = chain.node(args.node)
    client.discard(chain.id, node.id)
    terminal.say(f"discarded {node.id}")


def export(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    chain = client.chain(args.chain)
    with terminal.progress() as report:
        client.export(
            chain.id, _format(args), args.out, lambda job: report("export", job.state, job.progress)
        )
    terminal.say(str(args.out))


def download(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    chain = client.chain(args.chain)
    client.download(chain.id, chain.node(args.node).id, args.out, _format(args))
    terminal.say(str(args.out))


def listen(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    chain = client.chain(args.chain)
    if args.stdout:
        for piece in client.listen(chain.id, chain.node(args.node)):
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
        return
    player = shlex.split(args.player) if args.player else _player()
    with tempfile.TemporaryDirectory(prefix="segue-") as folder:
        file = Path(folder) / "node.wav"
        client.download(chain.id, chain.node(args.node).id, file)
        status = subprocess.run([*player, str(file)], check=False).returncode
    if status != 0:
        raise ClientError(f"{player[0]} ended with {status}")


def analyse(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    chain = client.chain(args.chain)
    node = chain.node(args.node)
    with terminal.progress() as report:
        said = client.analyse(chain.id, node.id, lambda job: report("analysis", job.state, job.progress))
    for line in analysis_lines(said):
        terminal.say(line)


def stems(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    chain = client.chain(args.chain)
    node = chain.node(args.node)
    with terminal.progress() as report:
        files = client.stems(
            chain.id,
            node.id,
            args.out,
            lambda job: report("stems", job.state, job.progress),
            audio_format=args.format,
            two_stems=args.two_stems,
            model=args.model,
        )
    for file in files:
        terminal.say(str(file))


def chains(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    found = list(client.chains())
    short = short_ids([chain.id for chain in found])
    for chain in found:
        terminal.say(f"{short[chain.id]}  {chain.updated_at}  {printable(chain.title) or 'untitled'}")
    if not found:
        terminal.note("no chains yet: begin one with segue upload FILE")


def show(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    terminal.tree(client.chain(args.chain))


def models(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    for model in client.models():
        facts = (model.name, "default" if model.default else None, model.status, model.detail, model.licence)
        terminal.say("  ".join(printable(fact) for fact in facts if fact))


def _watch(
    client: SegueClient,
    chain: Chain,
    terminal: Terminal,
    node_ids: Collection[str] | None,
    *,
    endless: bool = False,
) -> None:
    """Progress until all is done. Raises WorkFailed if a node that was waited for came to nothing."""
    worked_on: dict[str, Node] = {}
    with terminal.progress() as report, closing(client.follow(chain, node_ids, endless=endless)) as changes:
        for node in changes:
            # A snapshot tells of all nodes; those that were done before are no news.
            if node_ids is None and node.is_finished and node.id not in worked_on:
                continue
            worked_on[node.id] = node
            report(node.id, node.status, 1.0 if node.status == "ready" else node.progress)
    lost = [node for node in worked_on.values() if node.is_finished and node.status != "ready"]
    if lost:
        reasons = [
            f"{node.id} {node.status}" + (f": {node.error.detail}" if node.error else "") for node in lost
        ]
        raise WorkFailed("; ".join(reasons))


def _format(args: argparse.Namespace) -> str:
    ending = args.out.suffix.lower().removeprefix(".")
    return str(args.format or (ending if ending in FORMATS else FORMATS[0]))


def _player() -> Sequence[str]:
    for player in _PLAYERS:
        if shutil.which(player[0]):
            return player
    raise ClientError("no audio player found: name one with --player, or use segue download")


if __name__ == "__main__":
    sys.exit(main())
