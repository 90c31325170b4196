"""How records in the formats that `k2ctl load` writes are read."""

from datetime import date
from functools import cache

from k2ctl.domain.wire import RecordFormat
from k2ctl.feeds.records import Decoder, own_decoder
from k2ctl.kafka.reader import Fetched
from k2ctl.profiles import Profile, load_profile

EARLIEST = date(1990, 1, 1)
LATER_US = 2**62 // 1000
"""After every trade."""


@cache
def decoder_for(written: RecordFormat, earliest: date = EARLIEST) -> Decoder:
    """The decoder of a topic in that format; one for all examples, because it takes longer to make than they do."""
    profile: Profile = load_profile("laptop")
    declared = {"format": written.wire, "time_unit": written.time_unit, "earliest": earliest}
    return own_decoder(profile.model_copy(update={"topic": profile.topic.model_copy(update=declared)}), written.wire)


def refusals(decoder: Decoder, values: list[bytes]) -> list[str]:
    """Why records are refused, whole or in part."""
    decoded = decoder.decode(Fetched.of_values(values))
    invalid = decoder.invalid(decoded.trades, LATER_US)
    return [reason for _, reason in decoded.broken] + [one.reason for one in decoded.refused] + list(invalid.values())
