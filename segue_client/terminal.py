"""What the `segue` command shows: a chain's tree, progress, and plain lines where nobody watches.

Results go to stdout, everything about their making to stderr, so that a script reads only results. Off a
terminal there are no colours, no bars and no control codes, and none from the server's texts anywhere.
"""

from __future__ import annotations

import io
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from segue_client.answers import Chain, Node

Report = Callable[[str, str, float | None, str], None]
"""Called with a label, a state, a fraction 0..1 of the work, and what else is known, for a terminal alone."""

MIN_ID_CHARS = 8
MAX_TEXT_CHARS = 60
_MARKS = {"committed": "●", "candidate": "○", "discarded": "×"}
_STYLES = {"running": "cyan", "pending": "yellow", "failed": "red", "cancelled": "red", "ready": ""}
_CHANNELS = {1: "mono", 2: "stereo"}
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\s]+")


class Terminal:
    """Two streams, each treated as what it is: a terminal, or a file or pipe that gets plain lines."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out = _console(out)
        self._err = _console(err)

    def say(self, line: str | Text) -> None:
        """A line of the result, to stdout."""
        self._out.print(line, soft_wrap=True)

    def note(self, line: str) -> None:
        """A line about what is going on, to stderr."""
        self._err.print(line, soft_wrap=True)

    def agrees(self, question: str) -> bool:
        """Whether the person at the keyboard says yes. The question goes to stderr."""
        self._err.print(f"{question} [y/N] ", end="", soft_wrap=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def tree(self, chain: Chain) -> None:
        for line in drawn(chain):
            self.say(line)

    @contextmanager
    def progress(self) -> Iterator[Report]:
        """Bars on a terminal; elsewhere a line for each new state and each tenth of the work."""
        if not self._err.is_terminal:
            yield _lines(self.note)
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%", markup=False),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self._err) as bars:
            tasks: dict[str, TaskID] = {}

            def report(label: str, state: str, fraction: float | None, more: str) -> None:
                if label not in tasks:
                    tasks[label] = bars.add_task(label, total=1.0)
                bars.update(tasks[label], description=f"{label}  {state}{more}", completed=fraction or 0.0)

            yield report


def printable(text: str, limit: int = MAX_TEXT_CHARS) -> str:
    """Somebody's text as one short line that cannot steer a terminal."""
    line = _UNPRINTABLE.sub(" ", text).strip()
    return line if len(line) <= limit else line[: limit - 1] + "…"


def short_ids(ids: Collection[str]) -> dict[str, str]:
    """Each id's shortest beginning that names it alone, of at least MIN_ID_CHARS."""
    length = MIN_ID_CHARS
    while len({full[:length] for full in ids}) < len(set(ids)):
        length += 1
    return {full: full[:length] for full in ids}


def tree_lines(chain: Chain) -> Iterator[tuple[str, Node]]:
    """Every node with what is drawn before it. The spine runs straight down, branches hang to its right; the root
    and its crops stand above it, as far as they are not where it begins:

    ```
    ● root
    │ ├─○ a take of the root's continuation
    │ │ └─○ its own continuation
    │ └─× another take, discarded
    ● the take that was committed
      └─○ what may come next
    ```
    """
    nodes = {node.id: node for node in chain.nodes}
    trunk = [node_id for node_id in chain.spine if node_id in nodes] or [chain.root_id]
    children: dict[str | None, list[Node]] = defaultdict(list)
    for node in chain.nodes:
        if node.id not in trunk:
            children[node.parent_id].append(node)

    def hanging(parent_id: str, prefix: str) -> list[tuple[str, str, Node]]:
        """What goes on the stack for a node's children, the first one on top."""
        those = children[parent_id]
        last = those[-1:]
        return [
            (prefix + ("└─" if [node] == last else "├─"), prefix + ("  " if [node] == last else "│ "), node)
            for node in reversed(those)
        ]

    def below(parent_id: str, prefix: str) -> Iterator[tuple[str, Node]]:
        stack = hanging(parent_id, prefix)
        while stack:
            guide, deeper, node = stack.pop()
            yield guide, node
            stack += hanging(node.id, deeper)

    for root in children[None]:
        yield "", root
        yield from below(root.id, "  ")
    for node_id in trunk:
        yield "", nodes[node_id]
        yield from below(node_id, "  " if node_id == trunk[-1] else "│ ")


def drawn(chain: Chain) -> Iterator[Text]:
    """The chain as lines: its title, its tree, its length."""
    short = short_ids([node.id for node in chain.nodes])
    yield Text.assemble((printable(chain.title) or "untitled", "bold"), f"  chain {chain.id}")
    for guide, node in tree_lines(chain):
        yield Text.assemble((guide, "dim"), described(node, short[node.id]))
    sound = format_words(chain.sample_rate_hz, chain.channels)
    yield Text(
        f"{length_line(chain)}, version {chain.version}" + (f", {sound}" if sound else ""), style="dim"
    )


def described(node: Node, short_id: str) -> Text:
    """One node in one line: decision, id, length, state, what is known of it, prompt, and why something failed."""
    style = {"committed": "bold green", "discarded": "dim"}.get(node.decision, "")
    state = printable(node.status)
    if node.status == "running" and node.progress is not None:
        state = f"running {node.progress:.0%}"
    line = Text.assemble(
        (f"{_MARKS.get(node.decision, '?')} {short_id}", style),
        f"  {node.duration_s:.1f} s  ",
        (state, _STYLES.get(node.status, "")),
        f", {printable(node.decision)}",
    )
    if facts := ", ".join(_facts(node)):
        line.append(f"  {facts}")
    if node.title:
        line.append(f"  {printable(node.title)}", style="bold")
    if node.audio is not None and node.audio.original_name:
        line.append(f"  {printable(node.audio.original_name)}")
    if node.prompt:
        line.append(f"  “{printable(node.prompt)}”", style="italic")
    if node.note:
        line.append(f"  {printable(node.note)}")
    for reason in _reasons(node):
        line.append(f"  {printable(reason, 300)}", style="red")
    return line


def _facts(node: Node) -> Iterator[str]:
    if node.stars:
        yield "★" * node.stars
    if node.cropped_from is not None:
        of = node.cropped_from
        yield f"{of.from_s:.1f} to {of.to_s:.1f} s of {of.node_id[:MIN_ID_CHARS]}"
    if node.seed is not None:
        yield f"seed {node.seed}"
    if node.analysis is not None:
        if node.analysis.bpm is not None:
            yield f"{node.analysis.bpm:.1f} bpm"
        if node.analysis.key is not None:
            yield printable(node.analysis.key)
        if node.analysis.rank is not None:
            yield f"rank {node.analysis.rank}"


def _reasons(node: Node) -> Iterator[str]:
    if node.error is not None:
        yield node.error.detail
    if node.analysis is not None and node.analysis.error is not None:
        yield f"analysis failed: {node.analysis.error.detail}"
    for separation in node.stems:
        if separation.error is not None:
            yield f"stems failed: {separation.error.detail}"


def length_line(chain: Chain) -> str:
    """The spine's size in words: `spine: 3 nodes, 24.0 s`."""
    return f"spine: {counted(len(chain.spine), 'node')}, {chain.spine_s:.1f} s"


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def format_words(sample_rate_hz: int | None, channels: int | None) -> str | None:
    """`44100 Hz, stereo`; None where it is not known."""
    if sample_rate_hz is None or channels is None:
        return None
    return f"{sample_rate_hz} Hz, {_CHANNELS.get(channels, f'{channels} channels')}"


def _console(stream: TextIO) -> Console:
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")  # a terminal may not have every letter of a title
    # Said outright, because rich also takes hints from the environment that a file is a terminal.
    return Console(
        file=stream,
        force_terminal=stream.isatty(),
        markup=False,
        highlight=False,
        emoji=False,
        soft_wrap=True,
    )


def _lines(note: Callable[[str], None]) -> Report:
    shown: dict[str, tuple[str, int]] = {}

    def report(label: str, state: str, fraction: float | None, more: str) -> None:
        tenths = int(10 * (fraction or 0.0))
        if shown.get(label) != (state, tenths):
            shown[label] = (state, tenths)
            note(f"{label}  {state}" + (f"  {10 * tenths}%" if state == "running" else ""))

    return report
