"""Compiling kernels once for a machine: the code is kept on disk, under the sources of all kernels together.

numba's own cache looks at the one file that a function stands in; a kernel is made of several.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import llvmlite
import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator

F = TypeVar("F", bound=Callable[..., Any])

_SOURCES = Path(__file__).parent


def kernel(function: F) -> F:
    """Compile a function at its first call, as a part of the kernel that calls it; it checks no bounds."""
    dispatcher: Any = numba.njit(nogil=True, boundscheck=False, error_model="numpy")(function)
    if cache_folder() is not None:
        dispatcher._cache = _KernelCache(function)
    compiled: F = dispatcher
    return compiled


def entry_point(signature: str) -> Callable[[F], F]:
    """Compile a kernel that Python calls for one signature when its module is imported, or load it from the
    cache. It runs without the interpreter's lock."""

    def compile_(function: F) -> F:
        dispatcher: Any = kernel(function)
        dispatcher.compile(signature)
        dispatcher.disable_compile()
        compiled: F = dispatcher
        return compiled

    return compile_


@cache
def cache_folder() -> Path | None:
    """Beside the sources; for an installation that cannot be written to, in the user's own cache. None where
    neither can be: kernels are then compiled in each process."""
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    for folder in (_SOURCES / "__pycache__", user / "segue" / "kernels"):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    return None


@cache
def version() -> str:
    """Of the kernels: what compiled code and provenance are kept under."""
    digest = hashlib.sha256()
    for source in sorted(_SOURCES.glob("*.py")):
        digest.update(source.read_bytes())
    return f"{digest.hexdigest()[:12]}+numba{numba.__version__}+llvmlite{llvmlite.__version__}"


class _BesideSources(_CacheLocator):  # type: ignore[misc]
    def __init__(self, function: Callable[..., Any]) -> None:
        self._name = f"{function.__module__}.{function.__qualname__}"

    def get_cache_path(self) -> str:
        return str(cache_folder())

    def get_source_stamp(self) -> str:
        return version()

    def get_disambiguator(self) -> str:
        return hashlib.sha256(self._name.encode()).hexdigest()[:8]

    @classmethod
    def from_function(cls, function: Callable[..., Any], path: str) -> _BesideSources:
        return cls(function)


class _CompiledKernels(CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = (_BesideSources,)


class _KernelCache(FunctionCache):  # type: ignore[misc]
    _impl_class = _CompiledKernels
