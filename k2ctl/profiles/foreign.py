"""The profile of a topic that others fill: what the feed says of it stands in the place of the profile's own words."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from k2ctl.domain.recorded_feeds import RecordedFeed
from k2ctl.domain.topics import is_pattern
from k2ctl.errors import ProfileError, UsageError
from k2ctl.profiles.feed import DeclaredFeed, feed_names, feed_of, load_feed
from k2ctl.profiles.model import Profile


def of_others(profile: Profile, feed: str = "", topic: str = "") -> Profile:
    """The profile for a feed, by name or path, and a topic, by name or regular expression.

    Either may be left out: without a topic it is the feed's, else the profile's; without a feed the profile's format.

    Raises:
        ProfileError: there is no such feed, a mistake in it, or it is of files.
    """
    if not feed:
        return _changed(profile, {}, _checked(topic) if topic else "")
    declared = load_feed(feed)
    _require_topics(declared)
    topic = topic or declared.feed.source.topic or ""
    return _changed(_as_declared(profile, declared), {"feed": lasting_feed(feed)}, _checked(topic) if topic else "")


def of_table(profile: Profile, topic: str, recorded: RecordedFeed | None) -> Profile:
    """The profile for a topic of the table, with the feed that its consumer recorded there.

    Raises:
        ProfileError: the feed cannot be used here.
    """
    if topic == profile.trades_topic:
        return profile
    found = None if recorded is None else feed_of(recorded.name, recorded.place, recorded.text)
    declared = profile if found is None else _as_declared(profile, found)
    return _changed(declared, {}, topic)


def _as_declared(profile: Profile, declared: DeclaredFeed) -> Profile:
    """What a feed says of numbers and conditions, in the place of the profile's own."""
    market, feed = profile.market, declared.feed
    if feed.conditions is not None:
        market = market.model_copy(update={"conditions": feed.conditions})
    topic = profile.topic.model_copy(update={"sequence": feed.numbers})
    return profile.model_copy(update={"market": market, "topic": topic})


def _changed(profile: Profile, changes: Mapping[str, Any], topic: str) -> Profile:
    name = {"name": topic, "critical_partitions": 0} if topic else {}
    return profile.model_copy(update={"topic": profile.topic.model_copy(update={**changes, **name})})


def lasting_feed(name_or_path: str) -> str:
    """A feed's name, or its path as other processes find it from any folder.

    Raises:
        ProfileError: there is no such feed, or a mistake in it.
    """
    return name_or_path if name_or_path in feed_names() else str(Path(load_feed(name_or_path).place).absolute())


def _require_topics(declared: DeclaredFeed) -> None:
    if declared.feed.source.is_of_files:
        reason = f"{declared.feed.source.format} is of files, not of a topic"
        error = declared.mistake(("source", "format"), reason)
        raise ProfileError(str(error), f"Load them: k2ctl load --replay PATH --feed {declared.name}")


_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")


def _checked(topic: str) -> str:
    """Raises:
    UsageError: it is neither a topic's name nor a regular expression.
    """
    if is_pattern(topic):
        try:
            re.compile(topic)
        except re.error as error:
            raise UsageError(f"'{topic}' is no regular expression: {error}.", "Such as: ^trades\\.") from error
    elif not _NAME.fullmatch(topic):
        hint = "Letters, digits, dots, dashes and underscores; a regular expression begins with ^"
        raise UsageError(f"'{topic}' cannot be a topic's name.", hint)
    return topic
