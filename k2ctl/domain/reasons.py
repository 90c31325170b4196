"""Reasons of refusal, grouped: a million values that fail in one way are one cause.

A reason says what a record had and what it should have: `price is "abc", not a decimal (p = "abc")`. Its cause is field
and limit: `price: not a decimal`. A reason without a field is its own cause, but for what counts or points into the
record, or quotes it.
"""

import re
from typing import Final

VALUE_CUT: Final = 40
"""Characters of a value that a reason shows; a quoted value of so many may have lost its closing quote."""

_QUOTED: Final = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_VALUE: Final = rf"(?:(?:{_QUOTED})…?|.{{{VALUE_CUT}}}…?|[^,]*?)"
_OF_A_FIELD: Final = re.compile(rf"(?P<field>[\w. ]+?) (?:is|has the code|has) {_VALUE}, (?P<limit>.+)", re.DOTALL)
_OF_A_NUMBER: Final = re.compile(r"(?P<field>[\w ]+?) -?\d+, (?P<limit>.+)")
_COLUMNS: Final = re.compile(r" \([A-Za-z_]\w* = .*\)\Z", re.DOTALL)
_CITATION: Final = re.compile(r"(?: from \w+ \d+ on)?: [\"'].*\Z", re.DOTALL)
_LEADING_NUMBER: Final = re.compile(r"\A\d[\d,]*(?= )")
_POINTER: Final = re.compile(r"\b(line|column|char|byte|position|offset|index) \d+")


def cause_of(reason: str) -> str:
    """Field and limit of a reason, without the value."""
    reason = _COLUMNS.sub("", reason)
    found = _OF_A_FIELD.fullmatch(reason) or _OF_A_NUMBER.fullmatch(reason)
    if found is not None:
        return f"{found['field']}: {found['limit']}"
    return _POINTER.sub(r"\1 N", _LEADING_NUMBER.sub("N", _CITATION.sub("", reason)))
