"""Where runners work: whether a claim ended with its machine, or its holder alone."""

from __future__ import annotations

from typing import Protocol


class Machines(Protocol):
    """The machines of a cluster. No two have the same name, nor has one that was started again."""

    @property
    def here(self) -> str:
        """This process's machine."""
        ...

    async def has_gone(self, machine: str) -> bool:
        """Whether a machine has ended, or is none of this cluster's; False where that cannot be known."""
        ...


class UnknownMachines:
    """Of a runner outside of a cluster."""

    here = ""

    async def has_gone(self, machine: str) -> bool:
        return False
