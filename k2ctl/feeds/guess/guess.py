"""A feed for a file or topic that nobody has described: a shipped one that fits, or one concluded from a sample."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

from k2ctl.clock import Clock, SystemClock
from k2ctl.endpoints import Endpoints
from k2ctl.errors import UsageError
from k2ctl.feeds.check.check import Part
from k2ctl.feeds.check.file_parts import file_parts, format_of
from k2ctl.feeds.check.topic_parts import newest, part_of
from k2ctl.feeds.files.found import FeedFile, find_files
from k2ctl.feeds.foreign import Foreign
from k2ctl.feeds.guess.document import FeedSample, NoTrades, document_of
from k2ctl.feeds.guess.file_sample import sample_of_file
from k2ctl.feeds.guess.shipped import Fitting, fitting, resembling
from k2ctl.feeds.guess.topic_sample import sample_of_topic
from k2ctl.feeds.target import files_of, names_files, stack_of, storage_of_stack, unreadable
from k2ctl.kafka.reader import BESIDE
from k2ctl.profiles.feed import OF_FILES, DeclaredFeed, Source, feed_of

TRIED_BYTES: Final = 1 << 16
TRIED_PARTS: Final = 2
"""How much of a file each shipped feed is tried on."""


@dataclass(frozen=True)
class Guessed:
    """A feed for a target."""

    target: str
    # YAML.
    text: str
    # The shipped feed that it is; empty where it is none.
    shipped: str
    # What a person has to say, because nothing in the sample does.
    open: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """For scripts: the YAML, and what it says."""
        feed = feed_of("guess", "guess", self.text).feed.model_dump(mode="json", by_alias=True)
        return {
            "target": self.target,
            "shipped": self.shipped or None,
            "open": self.open,
            "yaml": self.text,
            "feed": feed,
        }


def guess(target: str, records: int, said: Mapping[str, str] | None = None, registry: str = "") -> Guessed:
    """A feed for files, of which the first is looked at, or for a topic.

    said: what the names of the files do not say. registry: the address of the schemas of a topic's records.

    Raises:
        UsageError: there is no such file or topic, or it does not say its columns.
        NoTrades: no column looks like a price, a quantity or a time.
    """
    if names_files(target):
        return guess_files(target, records, said or {})
    return guess_topic(stack_of(target), target, records, registry)


def guess_files(where: str, records: int, said: Mapping[str, str], clock: Clock | None = None) -> Guessed:
    """A feed for the first of some files. See `guess`."""
    now_us = (clock or SystemClock()).now_us()
    file = _first_file(where)

    def parts(declared: DeclaredFeed, assumed: Mapping[str, str] | None = None) -> Iterator[Part]:
        files = files_of(declared, where, now_us, {**(assumed or {}), **said})
        files.files = [one for one in files.files if one.name == file.name]
        return islice(file_parts(files, now_us, TRIED_BYTES), TRIED_PARTS)

    try:
        form = format_of(file)
        found = fitting(form, parts)
        if found is not None:
            return _shipped(where, found)
        return _of_sample(where, sample_of_file(file, records), _alike(resembling(form, parts)))
    except OSError as error:
        raise unreadable(where, error) from error


def _alike(feeds: Mapping[str, Sequence[str]]) -> str:
    """What is said of shipped feeds whose layout a file has, though not their names for files; empty without any."""
    groups = list(dict.fromkeys(group for several in feeds.values() for group in several))
    options = " ".join(f"--column {group}=…" for group in groups)
    names = " or ".join(f"--feed {name}" for name in feeds)
    return f"The layout may be that of {names}, with what its name does not say: {options}" if feeds else ""


def _of_sample(where: str, sample: FeedSample, alike: str) -> Guessed:
    try:
        return _concluded(where, replace(sample, remarks=[*sample.remarks, *([alike] if alike else [])]))
    except NoTrades as error:
        if not alike:
            raise
        raise NoTrades(str(error), alike) from error


def _first_file(where: str) -> FeedFile:
    """The first file, of any format."""
    missing: UsageError | None = None
    for form in OF_FILES:
        source = Source(format=form, columns=("any",) if form in ("csv", "ndjson") else ())
        try:
            return find_files(where, source, storage_of_stack())[0]
        except UsageError as error:
            missing = missing or error
    raise missing or AssertionError("no format")


def guess_topic(
    endpoints: Endpoints, topic: str, records: int, registry: str = "", clock: Clock | None = None
) -> Guessed:
    """A feed for the newest records of a topic. See `guess`."""
    now_us = (clock or SystemClock()).now_us()
    fetched, _ = newest(endpoints, topic, records, tuple(BESIDE))

    def parts(declared: DeclaredFeed) -> Iterator[Part]:
        yield part_of(fetched, Foreign(declared, ()), now_us)

    sample = sample_of_topic(topic, fetched, registry)
    found = fitting(sample.format, parts, registry)
    return _shipped(topic, found) if found else _concluded(topic, sample)


def _shipped(target: str, found: Fitting) -> Guessed:
    return Guessed(target, found.text, found.declared.name, ())


def _concluded(target: str, sample: FeedSample) -> Guessed:
    concluded = document_of(sample)
    return Guessed(target, concluded.text, "", concluded.open)
