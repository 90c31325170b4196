"""Small files: written in one step, and read as one JSON object with checks."""

import json
import os
from pathlib import Path
from typing import Any, Final

_MOST_DIGITS: Final = 20


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a small file.

    Raises:
        OSError: it cannot be read. ValueError: it is not one JSON object, or not a sane one.
    """
    try:
        found = json.loads(path.read_bytes(), object_pairs_hook=_each_once, parse_int=_small_int)
    except RecursionError as error:
        raise ValueError("it is nested without end") from error
    if not isinstance(found, dict):
        raise ValueError("it holds no object")
    return found


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key[:40]!r} stands there twice")
        found[key] = value
    return found


def _small_int(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number has {len(digits)} digits")
    return int(digits)


def write_atomically(path: Path, text: str) -> None:
    """Write a small file so that readers see the old text or the new, also across a crash; mode 0600."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
