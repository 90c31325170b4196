"""A file or topic, checked by a feed."""

from collections.abc import Mapping

from k2ctl.clock import Clock, SystemClock
from k2ctl.endpoints import Endpoints
from k2ctl.errors import UsageError
from k2ctl.feeds.check.check import FeedCheck
from k2ctl.feeds.check.checked import Checked
from k2ctl.feeds.check.file_parts import file_parts
from k2ctl.feeds.check.topic_parts import newest, topic_parts
from k2ctl.feeds.foreign import Foreign
from k2ctl.feeds.target import files_of, names_files, stack_of, unreadable
from k2ctl.profiles.conditions import load_conditions
from k2ctl.profiles.feed import DeclaredFeed


def check(
    declared: DeclaredFeed, target: str, records: int, shown: int, said: Mapping[str, str] | None = None
) -> Checked:
    """What a feed makes of the first lines of files, or of the newest records of a topic.

    shown: how many trades to keep beside what they are of. said: columns for what the names of files do not say.

    Raises:
        UsageError: there is no such file or topic, or the feed is not of such.
        ProfileError: an expression does not fit the columns.
    """
    if names_files(target):
        return check_files(declared, target, records, shown, said=said)
    return check_topic(stack_of(target), declared, target, records, shown)


def check_files(
    declared: DeclaredFeed,
    where: str,
    records: int,
    shown: int,
    clock: Clock | None = None,
    said: Mapping[str, str] | None = None,
) -> Checked:
    """What a feed makes of the first lines of files. See `check`."""
    clock = clock or SystemClock()
    now_us = clock.now_us()
    try:
        return FeedCheck(declared, where, shown, clock).run(
            file_parts(files_of(declared, where, now_us, said), now_us), records
        )
    except OSError as error:
        raise unreadable(where, error) from error


def check_topic(
    endpoints: Endpoints, declared: DeclaredFeed, topic: str, records: int, shown: int, clock: Clock | None = None
) -> Checked:
    """What a feed makes of the newest records of a topic. See `check`."""
    clock = clock or SystemClock()
    decoder = decoder_for(declared)
    fetched, has_more = newest(endpoints, topic, records, decoder.beside)
    checked = FeedCheck(declared, topic, shown, clock)
    return checked.run(topic_parts(fetched, decoder, clock.now_us()), records, has_more=has_more)


def decoder_for(declared: DeclaredFeed) -> Foreign:
    """How records that a feed describes are read, where no profile says of which market.

    Raises:
        UsageError: the feed is of files.
        ProfileError: there is no such table of conditions.
    """
    if declared.feed.source.is_of_files:
        raise UsageError(
            f"The feed {declared.name} is of {declared.feed.source.format}, which files hold, not topics.",
            f"Load a file with it: k2ctl load --replay FILE --feed {declared.name}",
        )
    return Foreign(declared, load_conditions(declared.feed.conditions or "all").cancels)
