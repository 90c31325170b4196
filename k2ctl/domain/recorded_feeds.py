"""Which feed each topic of the table has, as one property of it: written with the commit that first needs it.

So whoever has the table finds its topics and reads their records, on any machine, without the file of the feed.
"""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

import orjson

from k2ctl.errors import LakeError

FEEDS_PROPERTY: Final = "k2.feeds"


class RecordedFeed(NamedTuple):
    """A feed as its consumer read it."""

    name: str
    # The file that it was read from, on that machine.
    place: str
    # The YAML.
    text: str
    # That of its table of conditions, where this is a file as well.
    conditions: str = ""


@lru_cache(16)  # each query asks
def recorded_feeds(text: str | None) -> Mapping[str, RecordedFeed]:
    """Topic → feed of the property; topics of K2's own format have none.

    Raises:
        LakeError: the property is not ours, or damaged.
    """
    try:
        feeds = {topic: RecordedFeed(*map(str, values)) for topic, values in orjson.loads(text or "{}").items()}
        return MappingProxyType(feeds)
    except (ValueError, TypeError, AttributeError) as error:
        raise LakeError(
            f"The table property {FEEDS_PROPERTY} cannot be read: {error}",
            "A consumer of each topic writes it again: k2ctl consume --feed FEED",
        ) from error


def with_feeds(text: str | None, feeds: Mapping[str, RecordedFeed | None]) -> str | None:
    """The property with the feeds of some topics; None where they are recorded already. A feed of None: K2's format."""
    try:
        known = dict(recorded_feeds(text))
    except LakeError:
        known = {}
    wanted = {**known, **feeds}
    found = {topic: feed for topic, feed in wanted.items() if feed is not None}
    return None if found == known else orjson.dumps({topic: list(feed) for topic, feed in found.items()}).decode()
