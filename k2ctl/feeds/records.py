"""The records of a topic as trades, whatever wrote them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Protocol

import numpy as np

from k2ctl.domain.corrections import CANCEL_CODES
from k2ctl.domain.topics import WireFormat
from k2ctl.domain.trade import Decoded, decode, messages_of
from k2ctl.domain.validity import EARLIEST_US, invalid
from k2ctl.feeds.cancelled import with_cancels
from k2ctl.kafka.reader import Fetched
from k2ctl.profiles import Profile
from k2ctl.profiles.conditions import conditions_of
from k2ctl.profiles.feed import DeclaredFeed, load_feed, text_of

K2_JSON = "k2-json"
"""The shipped feed of K2's own JSON."""


class Decoder(Protocol):
    """How the records of one topic become trades."""

    @property
    def declared(self) -> DeclaredFeed | None:
        """The feed; None for K2's own records."""
        ...

    @property
    def beside(self) -> frozenset[str]:
        """What has to be fetched of a record beside its value, of `k2ctl.kafka.reader.BESIDE`."""
        ...

    def check(self, topic: str, /) -> None:
        """Look for mistakes before any record is read.

        Raises:
            ProfileError: an expression does not fit the columns of the topic's records.
        """
        ...

    def decode(self, fetched: Fetched, /) -> Decoded:
        """The trades of a batch; never raises for what a record may hold.

        Raises:
            ProfileError: an expression does not fit the columns.
            RegistryUnanswered: a schema is needed that the registry does not give now.
        """
        ...

    def invalid(self, trades: np.ndarray, now_us: int, /) -> dict[int, str]:
        """The trades whose values cannot be, with the reason, see `k2ctl.domain.validity`."""
        ...

    def alone(self, value: bytes, /) -> Sequence[bytes] | None:
        """Each trade of a record value as its producer would have sent it alone; None where it cannot be cut."""
        ...


@dataclass(frozen=True)
class Sbe:
    """K2's own records."""

    # No trade is older.
    earliest_us: int
    # The conditions that make a print a cancellation.
    cancels: tuple[str, ...]
    beside: frozenset[str] = frozenset()
    declared: None = None

    def check(self, _: str) -> None:
        """See `Decoder`."""

    def decode(self, fetched: Fetched) -> Decoded:
        """See `Decoder`."""
        return with_cancels(decode(fetched.values), self.cancels)

    def invalid(self, trades: np.ndarray, now_us: int) -> dict[int, str]:
        """See `Decoder`."""
        return invalid(trades, now_us, self.earliest_us)

    def alone(self, value: bytes) -> Sequence[bytes]:
        """See `Decoder`."""
        return messages_of(value)


SBE: Final = Sbe(EARLIEST_US, CANCEL_CODES)
"""K2's own records where no profile says more of them."""


def decoder_of(profile: Profile) -> Decoder:
    """How the records of a profile's topic are read.

    Raises:
        ProfileError: there is no such feed or table of conditions, or a mistake in one.
    """
    topic = profile.topic
    if topic.feed is not None:
        return foreign(_declared(topic.feed), conditions_of(profile.market).cancels)
    return own_decoder(profile, topic.format)


def own_decoder(profile: Profile, wire: WireFormat) -> Decoder:
    """How records that `k2ctl load` wrote are read.

    Raises:
        ProfileError: as `decoder_of`.
    """
    cancels, topic = conditions_of(profile.market).cancels, profile.topic
    if wire == "sbe":
        return Sbe(topic.earliest_us, cancels)
    declared = _declared(K2_JSON)
    source = declared.feed.source.model_copy(update={"time_unit": topic.time_unit, "earliest": topic.earliest})
    feed = declared.feed.model_copy(update={"source": source, "sequence": topic.sequence})
    return foreign(replace(declared, feed=feed, text=text_of(feed)), cancels)


def foreign(declared: DeclaredFeed, cancels: tuple[str, ...]) -> Decoder:
    """How the records that a feed describes are read. cancels: as of `Sbe`.

    Raises:
        ProfileError: a mistake in the feed.
    """
    # With DuckDB, of which K2's own records need nothing.
    from k2ctl.feeds.foreign import Foreign

    return Foreign(declared, cancels)


@lru_cache(32)
def _declared(name_or_path: str) -> DeclaredFeed:
    return load_feed(name_or_path)
