"""A chain as a tree, records as lines, and that nothing in them steers a terminal."""

from __future__ import annotations

import io
import json
import re

from hypothesis import given
from hypothesis import strategies as st

from segue_client.answers import Chain, Failure, Job, Model, Node, NodeAnalysis, NodeStems
from segue_client.lines import job_line, json_text, model_line
from segue_client.terminal import Terminal, described, drawn, printable, short_ids, tree_lines


def chain_of(parents: list[int], spine_length: int) -> Chain:
    """Node i + 1 hangs from node `parents[i]`; the spine is the path of first children."""
    nodes = [Node(id="n0", parent_id=None, status="ready", decision="committed", duration_s=1)]
    for number, parent in enumerate(parents, start=1):
        nodes.append(
            Node(id=f"n{number}", parent_id=f"n{parent}", status="ready", decision="candidate", duration_s=1)
        )
    spine = ["n0"]
    while len(spine) < spine_length:
        child = next((node.id for node in nodes if node.parent_id == spine[-1]), None)
        if child is None:
            break
        spine.append(child)
    return Chain(
        id="c", title="", version=1, updated_at="", root_id="n0", nodes=tuple(nodes), spine=tuple(spine)
    )


trees = st.integers(0, 12).flatmap(
    lambda size: st.builds(
        chain_of,
        st.tuples(*(st.integers(0, parent) for parent in range(size))).map(list),
        st.integers(0, 6),
    )
)


class TestDrawing:
    @given(trees)
    def test_every_node_is_drawn_once_and_below_its_parent(self, chain: Chain) -> None:
        order = [node.id for _, node in tree_lines(chain)]
        assert sorted(order) == sorted(node.id for node in chain.nodes)
        for node in chain.nodes:
            assert node.parent_id is None or order.index(node.parent_id) < order.index(node.id)

    @given(trees)
    def test_the_spine_runs_straight_down_and_branches_hang_one_step_deeper(self, chain: Chain) -> None:
        guides = {node.id: guide for guide, node in tree_lines(chain)}
        for node in chain.nodes:
            if node.id in chain.spine:
                assert guides[node.id] == ""
            elif node.parent_id in chain.spine:
                assert len(guides[node.id]) == 4
            elif node.parent_id is not None:
                assert len(guides[node.id]) == len(guides[node.parent_id]) + 2

    @given(trees)
    def test_every_line_goes_on_until_a_corner_ends_it(self, chain: Chain) -> None:
        guides = [guide for guide, _ in tree_lines(chain)]
        for above, below in zip(guides, [*guides[1:], ""], strict=True):
            for column, mark in enumerate(above):
                under = below[column] if column < len(below) else " "
                if column > 0 and mark in "├│":
                    assert under in "├│└"
                if column > 0 and mark == "└":
                    assert under in " ─"

    def test_a_very_deep_branch_is_drawn(self) -> None:
        assert len(list(tree_lines(chain_of(list(range(3000)), 1)))) == 3001

    def test_a_chain_whose_root_is_still_being_made(self) -> None:
        root = Node(
            id="r" * 24, parent_id=None, status="running", decision="committed", duration_s=8, progress=0.42
        )
        chain = Chain(id="c", title=" ", version=1, updated_at="", root_id=root.id, nodes=(root,), spine=())
        lines = [line.plain for line in drawn(chain)]
        assert lines[0].startswith("untitled")
        assert lines[1] == "● rrrrrrrr  8.0 s  running 42%, committed"

    def test_a_failed_node_says_why(self) -> None:
        node = Node(
            id="x",
            parent_id="y",
            status="failed",
            decision="candidate",
            duration_s=4,
            error=Failure(code="engine", detail="out of\nmemory"),
        )
        assert described(node, "x").plain.endswith("failed, candidate  out of memory")

    def test_what_is_known_of_a_take_is_shown(self) -> None:
        node = Node(
            id="x",
            parent_id="y",
            status="ready",
            decision="candidate",
            duration_s=4,
            seed=42,
            prompt="marimba",
            analysis=NodeAnalysis(status="ready", bpm=96.04, key="F# minor", rank=1),
        )
        assert described(node, "x").plain == (
            "○ x  4.0 s  ready, candidate  seed 42, 96.0 bpm, F# minor, rank 1  “marimba”"
        )

    def test_a_derivation_that_failed_says_why(self) -> None:
        broken = Failure(code="engine", detail="out of memory")
        node = Node(
            id="x",
            parent_id="y",
            status="ready",
            decision="discarded",
            duration_s=4,
            analysis=NodeAnalysis(status="failed", error=broken),
            stems=(NodeStems(status="failed", error=broken),),
        )
        assert described(node, "x").plain == (
            "× x  4.0 s  ready, discarded  analysis failed: out of memory  stems failed: out of memory"
        )

    @given(st.text())
    def test_no_text_steers_the_terminal(self, text: str) -> None:
        shown = printable(text)
        assert not re.search(r"[\x00-\x1f\x7f-\x9f]", shown)
        assert len(shown) <= 60

    @given(st.sets(st.text("0123456789abcdef", min_size=24, max_size=24), max_size=5), st.integers(0, 23))
    def test_short_ids_tell_their_own_from_the_others(self, ids: set[str], common: int) -> None:
        ids = {"f" * common + full[common:] for full in ids}
        short = short_ids(ids)
        for full in ids:
            assert [other for other in ids if other.startswith(short[full])] == [full]
            assert len(short[full]) >= 8

    def test_a_prompt_is_never_taken_for_markup(self) -> None:
        out = io.StringIO()
        Terminal(out, io.StringIO()).say("[red]not red[/red] :smile:")
        assert out.getvalue() == "[red]not red[/red] :smile:\n"

    def test_long_lines_are_not_wrapped_in_a_pipe(self) -> None:
        out = io.StringIO()
        Terminal(out, io.StringIO()).say("word " * 100)
        assert out.getvalue().count("\n") == 1


class TestLines:
    def test_a_model_that_loads_says_how_far_it_is(self) -> None:
        model = Model(
            name="musicgen-small",
            default=True,
            status="loading",
            detail="its weights are being downloaded",
            done_bytes=500_000_000,
            total_bytes=2_000_000_000,
            sample_rate_hz=32_000,
            channels=1,
            licence="CC-BY-NC 4.0",
        )
        assert model_line("music", model) == (
            "music     musicgen-small  default  loading 25% of 2 GB  its weights are being downloaded"
            "  32000 Hz, mono  CC-BY-NC 4.0"
        )

    def test_a_job_that_is_asked_to_end(self) -> None:
        job = Job(id="j" * 24, kind="stems", state="running", progress=0.4, cancel_requested=True)
        assert job_line(job, "jjjjjjjj") == "jjjjjjjj  stems  running 40%, asked to end"

    @given(st.dictionaries(st.text(), st.text()))
    def test_json_steers_no_terminal_and_reads_back_the_same(self, record: dict[str, str]) -> None:
        shown = json_text(record)
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]", shown)
        assert json.loads(shown) == record
