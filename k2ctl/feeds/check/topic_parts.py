"""The newest records of a topic, and what a feed makes of them."""

from collections.abc import Collection, Iterator, Sequence
from typing import Final

import numpy as np

from k2ctl.domain.trade import RefusedTrade, decode_frame
from k2ctl.endpoints import Endpoints
from k2ctl.errors import UsageError
from k2ctl.feeds.check.check import Part
from k2ctl.feeds.check.checked import Origin
from k2ctl.feeds.foreign import Foreign
from k2ctl.feeds.records import Decoder
from k2ctl.kafka.admin import BrokerAdmin, Watermarks
from k2ctl.kafka.reader import Fetched, read_between

READ_WITHIN_S: Final = 30.0
PART_RECORDS: Final = 5_000
LOOKED_AT: Final = 100
CUT_BYTES: Final = 2_000
"""Of a record that is shown."""


def newest(endpoints: Endpoints, topic: str, most: int, beside: Collection[str] = ()) -> tuple[Fetched, bool]:
    """The newest records of a topic, of each partition as many; and whether there are older ones.

    Raises:
        UsageError: there is no such topic, or nothing in it.
        BrokerError: Kafka does not answer.
    """
    with BrokerAdmin(endpoints) as admin:
        marks = known_topic(admin, topic)
    each = -(-most // len(marks))
    ranges = {partition: (max(mark.low, mark.high - each), mark.high) for partition, mark in marks.items()}
    fetched, _, _ = read_between(endpoints, topic, ranges, READ_WITHIN_S, 2 * most, beside)
    if not len(fetched):
        raise UsageError(f"There is no record in {topic}.", "Wait until its producer has sent some.")
    return fetched, any(start > marks[partition].low for partition, (start, _) in ranges.items())


def known_topic(admin: BrokerAdmin, topic: str) -> dict[int, Watermarks]:
    """The logs of a topic's partitions.

    Raises:
        UsageError: there is no such topic.
    """
    known = admin.topics()
    if topic not in known:
        listed = ", ".join(sorted(known)[:10]) or "none"
        raise UsageError(f"There is no topic {topic}.", f"There are: {listed}")
    return admin.watermarks(topic)


def topic_parts(fetched: Fetched, decoder: Decoder, now_us: int) -> Iterator[Part]:
    """What a decoder makes of records, some at a time."""
    for first in range(0, len(fetched), PART_RECORDS):
        mask = np.zeros(len(fetched), np.bool_)
        mask[first : first + PART_RECORDS] = True
        yield part_of(fetched.where(mask), decoder, now_us)


def part_of(fetched: Fetched, decoder: Decoder, now_us: int) -> Part:
    """What a decoder makes of records: values that cannot be are refused, as a consumer does."""
    decoded = decoder.decode(fetched)
    bad = decoder.invalid(decoded.trades, now_us)
    refused = [RefusedTrade(int(decoded.record[at]), int(decoded.index[at]), why) for at, why in bad.items()]
    kept = np.delete(np.arange(len(decoded.trades)), list(bad))

    def origin(record: int) -> Origin:
        place = f"{int(fetched.partition[record])}:{int(fetched.offset[record])}"
        return Origin(place, shown_by(decoder, fetched.values[record]))

    return Part(
        records=len(fetched),
        trades=decoded.trades[kept],
        record=decoded.record[kept],
        broken=decoded.broken,
        refused=[*decoded.refused, *refused],
        filtered=len(decoded.filtered),
        origin=origin,
    )


def are_own(values: Sequence[bytes]) -> bool:
    """True if records are K2's own."""
    return all(not isinstance(decode_frame(value), str) for value in values[:LOOKED_AT])


def shown_by(decoder: Decoder | None, value: bytes) -> str:
    """A record as people read it: its columns or, of a format that is text, itself."""
    columns = decoder.shown(value) if isinstance(decoder, Foreign) else None
    return text_of(value) if columns is None else columns[:CUT_BYTES]


def text_of(value: bytes) -> str:
    """A record's value as it is shown: its text or, where it is none, its bytes."""
    cut = value[:CUT_BYTES]
    more = "…" if len(value) > CUT_BYTES else ""
    try:
        text = cut.decode()
    except UnicodeDecodeError:
        text = ""
    readable = text and all(sign.isprintable() or sign in "\r\n\t" for sign in text)
    return (text.strip() if readable else cut.hex(" ")) + more
