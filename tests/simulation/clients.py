"""What users do to a simulated cluster: they ask, lose the answer, ask again somewhere else, and decide."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

from deployments.engines.music.protocol import GenerationMode
from serve_app.chains.drafts import BranchRequest
from serve_app.chains.takes import Branched
from serve_app.exports.schemas import NewExport
from serve_app.http.problems import Problem
from storage.domain.model import Chain, DomainError, Node
from storage.stores.object_store import StoreError
from tests.simulation.processes import MODEL, Ingress
from tests.simulation.virtual import VirtualLoop

T = TypeVar("T")
Request = Callable[[Ingress], Awaitable[T]]

TENANT = "t"
PATIENCE_S = 10.0
TAKE_S = 0.02


class Refusal(Exception):
    """An answer that asking again would not better (HTTP: 4xx)."""


@dataclass
class Promises:
    """What clients were told, to be held against what the store says in the end."""

    branches: dict[str, list[Branched]] = field(default_factory=dict)
    """By prompt, which is another for each request: every 202 that it got."""
    takes: dict[str, int] = field(default_factory=dict)
    chains: list[Chain] = field(default_factory=list)
    """Every chain that came back from a decision about a node."""
    exports: set[str] = field(default_factory=set)
    """Jobs of accepted exports."""
    cancelled: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)


class Client:
    """One user, who does a few things with a little pause before each."""

    def __init__(
        self,
        name: str,
        loop: VirtualLoop,
        luck: random.Random,
        ingresses: Sequence[Ingress],
        promises: Promises,
        chain_id: str,
    ) -> None:
        self._name = name
        self._luck = luck
        self._ingresses = ingresses
        self._promises = promises
        self._chain_id = chain_id
        self._strand = loop.strand(name)
        self._asked = 0

    def start(self, actions: int) -> asyncio.Task[None]:
        return self._strand.spawn(self._use(actions))

    async def _use(self, actions: int) -> None:
        for _ in range(actions):
            await asyncio.sleep(self._luck.uniform(0.0, 12.0))
            doings = (
                (self._branch, 10),
                (self._commit, 3),
                (self._discard, 2),
                (self._uncommit, 1),
                (self._restore, 2),
                (self._cancel, 3),
                (self._export, 3),
                (self._new_root, 2),
                (self._delete, 1),
            )
            doing = self._luck.choices([do for do, _ in doings], weights=[weight for _, weight in doings])[0]
            with suppress(Refusal):
                await doing()

    async def _branch(self) -> None:
        parent = await self._any_node()
        wanted = self._wanted(self._luck.choice((1, 1, 2)), GenerationMode.CONTINUE)
        chain_id, key = self._chain_id, self._key()
        await self._ask_for_takes(
            wanted, lambda ingress: ingress.takes.branch(TENANT, chain_id, parent.id, wanted, key)
        )

    async def _new_root(self) -> None:
        wanted, key = self._wanted(1, GenerationMode.TEXT), self._key()
        await self._ask_for_takes(
            wanted, lambda ingress: ingress.takes.generate_root(TENANT, wanted.prompt, wanted, key)
        )
        if self._promises.branches.get(wanted.prompt):
            self._chain_id = self._promises.branches[wanted.prompt][0].chain.id

    async def _ask_for_takes(self, wanted: BranchRequest, request: Request[Branched]) -> None:
        """At one ingress, or at two at once with the same key."""
        self._promises.takes[wanted.prompt] = wanted.takes
        times = self._luck.choice((1, 1, 2))
        answers = await asyncio.gather(*(self._ask(request) for _ in range(times)), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, Branched):
                self._promises.branches.setdefault(wanted.prompt, []).append(answer)
            elif not isinstance(answer, Refusal):
                raise answer

    async def _commit(self) -> None:
        node, chain_id = await self._any_node(), self._chain_id
        self._promises.chains.append(
            await self._ask(lambda ingress: ingress.chains.commit(TENANT, chain_id, node.id))
        )

    async def _discard(self) -> None:
        node, chain_id = await self._any_node(), self._chain_id
        self._promises.chains.append(
            await self._ask(lambda ingress: ingress.chains.discard(TENANT, chain_id, node.id))
        )

    async def _uncommit(self) -> None:
        node, chain_id = await self._any_node(), self._chain_id
        self._promises.chains.append(
            await self._ask(lambda ingress: ingress.chains.uncommit(TENANT, chain_id, node.id))
        )

    async def _restore(self) -> None:
        node, chain_id = await self._any_node(), self._chain_id
        self._promises.chains.append(
            await self._ask(lambda ingress: ingress.chains.restore(TENANT, chain_id, node.id))
        )

    async def _cancel(self) -> None:
        """Any job of the list, perhaps one whose request was not answered yet."""
        page = await self._ask(lambda ingress: ingress.jobs.page(TENANT, None, 50))
        unfinished = [job for job in page.jobs if not job.state.is_finished]
        if unfinished:
            job = self._luck.choice(unfinished)
            await self._ask(lambda ingress: ingress.jobs.cancel(TENANT, job.id))
            self._promises.cancelled.add(job.id)

    async def _export(self) -> None:
        chain_id, key = self._chain_id, self._luck.choice((None, self._key()))
        wanted = NewExport(format="wav")
        job = await self._ask(lambda ingress: ingress.exports.start(TENANT, chain_id, wanted, key))
        self._promises.exports.add(job.id)

    async def _delete(self) -> None:
        chain_id = self._chain_id
        self._promises.deleted.add(chain_id)
        await self._ask(lambda ingress: ingress.chains.delete(TENANT, chain_id))

    async def _any_node(self) -> Node:
        chain_id = self._chain_id
        chain = await self._ask(lambda ingress: ingress.chains.read(TENANT, chain_id))
        return self._luck.choice(chain.nodes)

    async def _ask(self, request: Request[T]) -> T:
        """Ask until there is an answer, each time wherever luck has it. Raises Refusal."""
        while True:
            ingress = self._luck.choice(self._ingresses)
            try:
                if ingress.is_alive:
                    async with asyncio.timeout(PATIENCE_S):
                        return await asyncio.shield(ingress.main.spawn(_serve(request, ingress)))
            except (DomainError, Problem) as error:
                raise Refusal from error
            except (StoreError, TimeoutError):
                pass  # 503, or no answer at all
            await asyncio.sleep(self._luck.uniform(0.1, 2.0))

    def _wanted(self, takes: int, mode: GenerationMode) -> BranchRequest:
        return BranchRequest(
            prompt=f"{self._name}-{self._asked}",
            duration_s=TAKE_S,
            mode=mode,
            prompt_duration_s=0.1,
            cfg_coef=3.0,
            temperature=1.0,
            top_k=250,
            top_p=0.0,
            takes=takes,
            model=MODEL,
        )

    def _key(self) -> str:
        self._asked += 1
        return f"{self._name}-key-{self._asked}"


async def _serve(request: Request[T], ingress: Ingress) -> T:
    return await request(ingress)
