"""Which of the shipped feeds fits a sample as it is."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from k2ctl.errors import K2Error
from k2ctl.feeds.check.check import Part
from k2ctl.profiles.feed import DeclaredFeed, Format, feed_names, feed_of, load_feed

_SAID: Final = {"symbol": "SYMBOL", "date": "2024-01-02"}
"""What the name of a file may say."""

_GOOD: Final = 0.99
"""The part of a sample that a feed has to understand."""


@dataclass(frozen=True)
class Fitting:
    """A shipped feed that fits, and how many trades it makes of a sample."""

    declared: DeclaredFeed
    trades: int
    filtered: int
    failed: int
    # True if it is of topics, and the sample is a file.
    is_adapted: bool

    @property
    def text(self) -> str:
        """Its YAML, with what it makes of the sample."""
        counted = "1 trade" if self.trades == 1 else f"{self.trades:,} trades"
        left = f", {self.filtered:,} are left out" if self.filtered else ""
        failed = f", {self.failed:,} fail" if self.failed else ""
        said = f"The shipped feed {self.declared.name} fits: {counted} of the sample{left}{failed}."
        use = "Its records, as lines of a file." if self.is_adapted else f"As it is: --feed {self.declared.name}"
        return f"# {said}\n# {use}\n{self.declared.text.rstrip()}\n"


def fitting(form: Format, parts: Callable[[DeclaredFeed], Iterable[Part]]) -> Fitting | None:
    """The shipped feed that makes the most trades of a sample; None where none understands it.

    parts: what a feed makes of the sample. Lines of JSON may be what somebody has written down of a topic.
    """
    found = list[Fitting]()
    for name in feed_names():
        declared = load_feed(name)
        of_topic = form == "ndjson" and declared.feed.source.format == "json"
        try:
            if of_topic:
                text = declared.text.replace("format: json", "format: ndjson", 1)
                declared = feed_of(declared.name, declared.place, text)
            if declared.feed.source.format == form:
                one = _tried(declared, parts(declared), is_adapted=of_topic)
                if one.trades and one.trades >= _GOOD * (one.trades + one.failed):
                    found.append(one)
        except (K2Error, OSError):  # its name, columns or expressions do not fit
            continue
    return max(found, key=lambda one: (one.trades, one.declared.feed.source.file_name is not None), default=None)


def resembling(form: Format, parts: Callable[[DeclaredFeed, dict[str, str]], Iterable[Part]]) -> dict[str, list[str]]:
    """The shipped feeds that would understand a file if it had another name, and what they take from that.

    parts: what a feed makes of the file with these in the place of what its name says.
    """
    found = dict[str, list[str]]()
    for name in feed_names():
        declared = load_feed(name)
        source = declared.feed.source
        if source.format != form or source.file_name is None:
            continue
        groups = list(re.compile(source.file_name).groupindex)
        nameless = declared.feed.model_copy(update={"source": source.model_copy(update={"file_name": None})})
        try:
            said = {group: _SAID.get(group, "") for group in groups}
            one = _tried(
                replace(declared, feed=nameless), parts(replace(declared, feed=nameless), said), is_adapted=False
            )
        except (K2Error, OSError):
            continue
        if one.trades and not one.failed:
            found[name] = groups
    return found


def _tried(declared: DeclaredFeed, parts: Iterable[Part], *, is_adapted: bool) -> Fitting:
    trades = filtered = failed = 0
    for part in parts:
        trades += len(part.trades)
        filtered += part.filtered
        failed += len(part.broken) + len(part.refused)
    return Fitting(declared, trades, filtered, failed, is_adapted)
