"""Memory that native code has freed: where it stays, and how it goes back to the system."""

import ctypes
import os
import sys
from collections.abc import Callable
from typing import Any, Final

_M_ARENA_MAX: Final = -8
"""Of glibc's malloc.h."""


def keep_one_heap() -> None:
    """For a process whose threads pass arrays on: what one of them frees, the others use again.

    glibc gives each thread a heap of its own, and Arrow has another one: 70 to 100 MB of a drain lay there, freed and
    unused. To be called before Arrow is imported; settings of the environment stand.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    setting = _of_glibc("mallopt")
    if setting is not None and "MALLOC_ARENA_MAX" not in os.environ:
        setting(_M_ARENA_MAX, 1)


def release_freed() -> None:
    """Return freed memory to the system. glibc keeps it per thread: 900 MB of it after a drain, measured."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    trim = _of_glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _of_glibc(name: str) -> Callable[..., Any] | None:
    """A function of glibc; None where there is another library."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
