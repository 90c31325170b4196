"""Where the trades of a JSON record stand among its bytes: what a dead letter of one of them holds, and why.

Everything here goes byte by byte through one record; batches take other ways.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import orjson

_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+', re.DOTALL)
_STEP: Final = re.compile(r'\."([^"]*)"|\.([^.\["]+)|\[(\d+)\]|\[(\*)\]')
_BOM: Final = b"\xef\xbb\xbf"
_CUT: Final = 40
_INNER: Final = 2
"""The depth of what stands in what stands in a value."""


@dataclass(frozen=True)
class PathStep:
    """One step of a path: the key of an object, the position in an array, or None for every element."""

    key: str | int | None
    # Where it begins in the path.
    start: int


def steps_of(path: str) -> list[PathStep]:
    """The steps of a path behind its `$`.

    Raises:
        ValueError: it has something else.
    """
    found, at = list[PathStep](), 1
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            raise ValueError(f'{path[at:][:_CUT]} is no step of a path: .name, ."a name", [0] or [*]')
        quoted, plain, number, every = step.groups()
        key = None if every else int(number) if number else plain if quoted is None else quoted
        found.append(PathStep(key, at))
        at = step.end()
    return found


def lines_of(value: bytes) -> list[bytes]:
    """The lines of a record that is an object a line; none of any other record."""
    text = value.strip()
    if not text.startswith(b"{") or b"\n" not in text or is_json(text):
        return []
    lines = [line.strip() for line in text.split(b"\n")]
    lines = [line for line in lines if line]
    return lines if any(line.startswith(b"{") and line.endswith(b"}") and is_json(line) for line in lines) else []


def parts_of(value: bytes, trades: str | None) -> list[bytes] | None:
    """The bytes of each trade of a record, as the feed reads it alone; None where they cannot be cut.

    trades: the path of the list of trades. What the record has around it stays around each trade.
    """
    start = len(_BOM) if value.startswith(_BOM) else 0
    if trades is None:
        if value[start:].lstrip()[:1] != b"[":
            return lines_of(value[start:]) or [value]
        return [value[begin:end] for _, begin, end in _children(value, start)]
    span = _span(value, start, trades)
    if span is None or value[span[0] : span[0] + 1] != b"[":
        return None
    before, behind = value[: span[0] + 1], value[span[1] - 1 :]
    parts = [value[begin:end] for _, begin, end in _children(value, span[0])]
    if parts and not any(part[:1] in (b"{", b"[") for part in parts):
        return [value]  # one trade, written as a list of values
    return [before + part + behind for part in parts]


def why_not_json(value: bytes) -> str:
    """Why a record value is neither an object nor an array of JSON."""
    if not value.strip():
        return "empty value"
    try:
        orjson.loads(value)
    except orjson.JSONDecodeError as error:
        return _reason(str(error), error.doc, error.pos)
    return f"neither a JSON object nor an array of them: {_cut(value.decode(errors='replace'))}"


def _reason(said: str, text: str, at: int) -> str:
    if not text:
        return "not JSON: not UTF-8"
    if "ecursion" in said:
        return "not JSON, as far as its first 1,024 levels show"
    if at >= len(text):
        return f"not JSON: it ends too early, after {len(text)} characters"
    return f"not JSON from character {at} on: {_cut(text[at:])}"


def _cut(text: str) -> str:
    return json.dumps(text[:_CUT], ensure_ascii=False) + ("…" if len(text) > _CUT else "")


def is_json(text: bytes) -> bool:
    """Whether a text is JSON."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _span(value: bytes, start: int, path: str) -> tuple[int, int] | None:
    """Where the value at a path begins and ends; None if there is none, or more than one."""
    found = (start + len(value[start:]) - len(value[start:].lstrip()), len(value.rstrip()))
    for step in steps_of(path):
        inner = [(begin, end) for key, begin, end in _children(value, found[0]) if key == step.key]
        if len(inner) != 1:
            return None
        found = inner[0]
    return found


def _children(value: bytes, start: int) -> Iterator[tuple[str | int, int, int]]:
    """Key or position, start and end of each part of the object or array that begins at `start`."""
    depth, number, key, span = 0, 0, None, (-1, -1)
    for token in _TOKEN.finditer(value, start):
        text, is_end = token[0], token[0] in (b"]", b"}")
        if text in (b"[", b"{"):
            depth += 1
            span = (token.start(), -1) if depth == _INNER else span
        elif is_end and depth == _INNER:
            depth, span = 1, (span[0], token.end())
        elif depth != 1:
            depth -= is_end
        elif text == b":":
            key, span = str(orjson.loads(value[span[0] : span[1]])), (-1, -1)
        elif is_end or text == b",":
            if span[0] >= 0:
                yield number if key is None else key, *span
            if is_end:
                return
            number, key, span = number + 1, None, (-1, -1)
        else:
            span = token.span()
