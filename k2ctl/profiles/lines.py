"""Lines: topics that carry the same market, each by a feed of its own, as a profile or a command line names them."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from k2ctl.errors import UsageError

MOST_LINES: Final = 8
_FIT: Final = f"lines are 2 to {MOST_LINES}, and each has a topic of its own"
_HOW: Final = "Name them: --line A=TOPIC --line B=TOPIC, or in the profile, under topic: lines: {A: TOPIC, B: TOPIC}"


def _fit(topics: Mapping[str, str]) -> bool:
    return 2 <= len(topics) <= MOST_LINES and len({*topics.values()}) == len(topics)


def _checked(topics: dict[str, str]) -> dict[str, str]:
    if topics and not _fit(topics):
        raise ValueError(_FIT)
    return topics


LineTopics = Annotated[
    dict[
        Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,32}$")],
        Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$", max_length=249)],
    ],
    AfterValidator(_checked),
]
"""Topic by the name of its line; none where there are no lines."""


def lines_named(named: Sequence[str], declared: Mapping[str, str]) -> dict[str, str]:
    """Topic by line. named: NAME=TOPIC each, or TOPIC alone; where there is none, those that the profile declares.

    Raises:
        UsageError: there are not several, or two have the same name or topic.
    """
    pairs = [text.rpartition("=") for text in named]
    lines = {name or topic: topic for name, _, topic in pairs} if named else dict(declared)
    if not lines:
        raise UsageError("The profile names no lines to compare.", _HOW)
    if len(lines) < len(named) or not all(lines.values()) or not _fit(lines):
        raise UsageError(f"{_FIT[0].upper()}{_FIT[1:]}.", _HOW)
    return lines
