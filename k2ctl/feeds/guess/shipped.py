"""Which of the shipped feeds fits a sample."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
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
    # The names of shipped feeds that fit as well.
    others: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Its YAML, with what it makes of the sample."""
        counted = "1 trade" if self.trades == 1 else f"{self.trades:,} trades"
        left = f", {self.filtered:,} are left out" if self.filtered else ""
        failed = f", {self.failed:,} fail" if self.failed else ""
        said = f"The shipped feed {self.declared.name} fits: {counted} of the sample{left}{failed}."
        others = f"# It may be another, which fits as well: {', '.join(self.others)}.\n" if self.others else ""
        is_as_shipped = self.declared.text == load_feed(self.declared.name).text
        use = f"# As it is: --feed {self.declared.name}\n" if is_as_shipped else ""
        return f"# {said}\n{others}{use}{self.declared.text.rstrip()}\n"


def fitting(form: Format, parts: Callable[[DeclaredFeed], Iterable[Part]], registry: str = "") -> Fitting | None:
    """The shipped feed that makes the most trades of a sample; None where none understands it.

    parts: what a feed makes of the sample. registry: its address, in the place of a feed's.
    """
    found = list[Fitting]()
    for shipped in _of_format(form):
        declared = _at_registry(shipped, registry)
        with suppress(K2Error, OSError):  # its name, columns or expressions do not fit
            one = _tried(declared, parts(declared))
            if one.trades and one.trades >= _GOOD * (one.trades + one.failed):
                found.append(one)
    ranked = sorted(found, key=lambda one: (-one.trades, one.declared.feed.source.file_name is None))
    return replace(ranked[0], others=tuple(one.declared.name for one in ranked[1:])) if ranked else None


def resembling(form: Format, parts: Callable[[DeclaredFeed, dict[str, str]], Iterable[Part]]) -> dict[str, list[str]]:
    """The shipped feeds that would understand a file if it had another name, and what they take from that.

    parts: what a feed makes of the file with these in the place of what its name says.
    """
    found = dict[str, list[str]]()
    for declared in _of_format(form):
        groups = list(re.compile(declared.feed.source.file_name or "").groupindex)
        if groups:
            with suppress(K2Error, OSError):
                one = _tried(declared, parts(declared, {group: _SAID.get(group, "1") for group in groups}))
                if one.trades and not one.failed:
                    found[declared.name] = groups
    return found


def _at_registry(declared: DeclaredFeed, registry: str) -> DeclaredFeed:
    shipped = declared.feed.source.registry
    if not registry or shipped is None:
        return declared
    return feed_of(declared.name, declared.place, declared.text.replace(shipped, registry))


def _of_format(form: Format) -> Iterator[DeclaredFeed]:
    """The shipped feeds of a format. Lines of JSON may be what somebody has written down of a topic."""
    formats = (form, "json") if form == "ndjson" else (form,)
    for name in feed_names():
        declared = load_feed(name)
        if declared.feed.source.format in formats:
            yield declared


def _tried(declared: DeclaredFeed, parts: Iterable[Part]) -> Fitting:
    trades = filtered = failed = 0
    for part in parts:
        trades += len(part.trades)
        filtered += part.filtered
        failed += len(part.broken) + len(part.refused)
    return Fitting(declared, trades, filtered, failed)
