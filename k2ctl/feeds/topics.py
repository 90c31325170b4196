"""What the records of each topic are: by the table where its consumer has recorded a feed, else by the profile."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from k2ctl.domain.recorded_feeds import RecordedFeed
from k2ctl.domain.topics import topics_named
from k2ctl.feeds.records import Decoder, decoder_of, foreign, own_decoder
from k2ctl.profiles import Profile
from k2ctl.profiles.conditions import ConditionTable, conditions_in, conditions_of, text_of_file
from k2ctl.profiles.feed import DeclaredFeed, feed_of
from k2ctl.profiles.model import SequenceSettings


@dataclass(frozen=True)
class TopicFeeds:
    """The feeds of a table's topics. A topic without one, that is not the profile's, has K2's own records."""

    profile: Profile
    recorded: Mapping[str, RecordedFeed]

    def decoder(self, topic: str) -> Decoder:
        """How the topic's records are read.

        Raises:
            ProfileError: a recorded feed or table of conditions cannot be used here.
        """
        recorded = self.recorded.get(topic)
        if recorded is not None:
            return recorded_decoder(self.profile, recorded)
        return decoder_of(self.profile) if self._is_own(topic) else own_decoder(self.profile, "sbe")

    def sequence(self, topic: str) -> SequenceSettings | None:
        """What the topic's sequence numbers are; None where nothing is declared of them.

        Raises:
            ProfileError: as `decoder`.
        """
        recorded = self.recorded.get(topic)
        if recorded is not None:
            return _declared(recorded).feed.numbers
        return self.profile.topic.sequence if self._is_own(topic) else None

    def conditions(self, topic: str) -> ConditionTable:
        """Which of the topic's prints count for bars.

        Raises:
            ProfileError: as `decoder`.
        """
        recorded = self.recorded.get(topic)
        return conditions_of(self.profile.market) if recorded is None else _conditions(self.profile, recorded)

    def group(self, topic: str) -> str:
        """The same for topics whose numbers are counted together: those of one feed."""
        recorded = self.recorded.get(topic)
        return topic if recorded is None else recorded.text

    def _is_own(self, topic: str) -> bool:
        of_profile = (self.profile.trades_topic, *self.profile.topic.lines.values())
        return any(topics_named(name, [topic]) for name in of_profile)


def recorded_decoder(profile: Profile, recorded: RecordedFeed) -> Decoder:
    """How the records are read that a recorded feed describes.

    Raises:
        ProfileError: the feed or its table of conditions cannot be used here.
    """
    return foreign(_declared(recorded), _conditions(profile, recorded).cancels)


def to_record(decoder: Decoder) -> RecordedFeed | None:
    """What a consumer records of its topic; None for K2's own format."""
    declared = decoder.declared
    if declared is None:
        return None
    return RecordedFeed(declared.name, declared.place, declared.text, text_of_file(declared.feed.conditions or ""))


@lru_cache(64)
def _declared(recorded: RecordedFeed) -> DeclaredFeed:
    return feed_of(recorded.name, recorded.place, recorded.text)


def _conditions(profile: Profile, recorded: RecordedFeed) -> ConditionTable:
    market, named = profile.market, _declared(recorded).feed.conditions
    if recorded.conditions:
        return conditions_in(f"{named}, as {recorded.name} had it", recorded.conditions)
    return conditions_of(market if named is None else market.model_copy(update={"conditions": named}))
