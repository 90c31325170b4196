"""Does Kafka work, and what time is it there: records that are produced to be read back."""

import uuid
from typing import Final

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError, KafkaException, Message, Producer

from k2ctl.clock import Clock, SystemClock
from k2ctl.domain.topics import may_hold_trades
from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError, first_line
from k2ctl.kafka.admin import BrokerAdmin, refused
from k2ctl.kafka.clients import LOG, producer_config
from k2ctl.kafka.reader import read_between

PROBE_TOPIC: Final = "k2.probe"
CLOCK_TOPIC: Final = "k2.clock"
"""Its records carry the time at which the broker appended them, not the producer's."""

AT_ONCE: Final = {"linger.ms": 0, "enable.idempotence": False}
"""An idempotent client waits half a second for its producer id before it sends; a probe sent twice does no harm."""


def round_trip(endpoints: Endpoints, timeout_s: float) -> None:
    """Produce a record to `k2.probe` and read it back.

    Raises:
        NotAllowed: this user may not use that topic.
        BrokerError: it did not come back in time.
    """
    with BrokerAdmin(endpoints) as admin:
        admin.topics()
        admin.create_topic(PROBE_TOPIC, 1, {"retention.ms": "60000"})
        before = admin.watermarks(PROBE_TOPIC)[0].high
        word = uuid.uuid4().bytes
        producer = Producer(producer_config(endpoints, **AT_ONCE))
        delivered: list[KafkaError | None] = []
        try:
            producer.produce(PROBE_TOPIC, word, partition=0, on_delivery=lambda error, _: delivered.append(error))
            left = producer.flush(timeout_s)
        except KafkaException as error:
            raise BrokerError(f"Kafka took no record: {error}", "See: k2ctl stack logs kafka") from error
        if left:
            raise BrokerError("Kafka acknowledged no record in time.", "See: k2ctl stack logs kafka")
        if delivered and delivered[0] is not None:
            raise refused(KafkaException(delivered[0]))
        after = admin.watermarks(PROBE_TOPIC)[0].high
    fetched, _, _ = read_between(endpoints, PROBE_TOPIC, {0: (before, after)}, timeout_s, limit_records=1000)
    if word not in fetched.values:
        raise BrokerError("Kafka did not give a record back in time.", "See: k2ctl stack logs kafka")


def newest_record_ahead_s(endpoints: Endpoints, timeout_s: float) -> float | None:
    """How far the newest record of any topic of trades is ahead of this machine's clock; None without records.

    Raises:
        BrokerError: Kafka does not answer.
    """
    newest: list[int] = []
    with BrokerAdmin(endpoints) as admin:
        for topic in [name for name in admin.topics() if may_hold_trades(name)]:
            marks = admin.watermarks(topic)
            last = {p: (max(mark.low, mark.high - 1), mark.high) for p, mark in marks.items()}
            fetched, _, _ = read_between(endpoints, topic, last, timeout_s, limit_records=len(last))
            newest += [] if fetched.newest_ms is None else [fetched.newest_ms]
    return max(newest) / 1e3 - SystemClock().now_us() / 1e6 if newest else None


def clock_ahead_s(endpoints: Endpoints, timeout_s: float, clock: Clock | None = None) -> float | None:
    """How far Kafka's clock is ahead of this machine's, exact to half a round trip; None where it gives no time.

    Raises:
        BrokerError: no record was acknowledged in time.
    """
    now_us = (clock or SystemClock()).now_us
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(CLOCK_TOPIC, 1, {"retention.ms": "60000", "message.timestamp.type": "LogAppendTime"})
    acknowledged: list[tuple[Message, float]] = []
    producer = Producer(producer_config(endpoints, **AT_ONCE, **{"delivery.report.only.error": False}))

    def on_delivery(_: KafkaError | None, message: Message) -> None:
        acknowledged.append((message, now_us() / 1e6))

    def ask() -> tuple[Message, float, float]:
        sent_s = now_us() / 1e6
        producer.produce(CLOCK_TOPIC, b"?", partition=0, on_delivery=on_delivery)
        if producer.flush(timeout_s) or acknowledged[-1][0].error():
            raise BrokerError("Kafka acknowledged no record in time.", "See: k2ctl stack logs kafka")
        return acknowledged[-1][0], sent_s, acknowledged[-1][1]

    try:
        ask()  # the first one waits for the connection
        message, sent_s, back_s = ask()
    except KafkaException as error:
        raise BrokerError(f"Kafka took no record: {error}", "See: k2ctl stack logs kafka") from error
    kind, appended_ms = message.timestamp()
    return appended_ms / 1e3 - (sent_s + back_s) / 2 if kind == TIMESTAMP_LOG_APPEND_TIME else None


DISAGREE_US: Final = 60_000_000
"""Records that are later than this clock by so much say that it is behind, or their producer's ahead."""

ASK_EVERY_S: Final = 60.0
ANSWER_WITHIN_S: Final = 2.0


class KafkaTime:
    """The time by which trades are judged: this machine's or, where its clock is behind, Kafka's.

    Where records are later than this clock, either may be wrong: the broker is asked for its time, which holds. Where
    it gives none, as the embedded one, the records' own times hold.
    """

    def __init__(self, endpoints: Endpoints, clock: Clock) -> None:
        self._endpoints = endpoints
        self._clock = clock
        self._broker_ahead_s: float | None = None
        self._asked_s: float | None = None
        self._behind_us = 0
        self._seen_s = 0.0

    def now_us(self, newest_ms: int | None) -> int:
        """The time when records were read, of which the newest carries this time; cheap while the clocks agree."""
        now_us = self._clock.now_us()
        ahead_us = 0 if newest_ms is None else newest_ms * 1000 - now_us
        if ahead_us < DISAGREE_US:
            return now_us
        by_broker_s = self._ask_broker()
        return now_us + self._noted(ahead_us if by_broker_s is None else max(0, round(by_broker_s * 1e6)))

    def checked_us(self) -> int:
        """The time before a trade is refused as ahead: also where the records' times say nothing about the clock."""
        by_broker_s = self._ask_broker()
        behind_us = self.behind_s * 1e6 if by_broker_s is None else max(0.0, by_broker_s * 1e6)
        return self._clock.now_us() + self._noted(round(behind_us))

    def _noted(self, behind_us: int) -> int:
        if behind_us >= DISAGREE_US:
            if not self.behind_s:
                LOG.warning("this machine's clock is %.0f s behind Kafka's, whose time holds", behind_us / 1e6)
            self._behind_us, self._seen_s = behind_us, self._clock.monotonic_s()
        return behind_us

    @property
    def behind_s(self) -> float:
        """How far this machine's clock is behind Kafka's, as seen within the last minute; 0 when it is not."""
        recent = self._clock.monotonic_s() - self._seen_s < ASK_EVERY_S
        return self._behind_us / 1e6 if recent else 0.0

    def _ask_broker(self) -> float | None:
        """How far the broker's clock is ahead; None where it gives no time, or does not answer."""
        now_s = self._clock.monotonic_s()
        if self._endpoints.engine != "embedded" and (self._asked_s is None or now_s - self._asked_s > ASK_EVERY_S):
            self._asked_s = now_s
            try:
                self._broker_ahead_s = clock_ahead_s(self._endpoints, ANSWER_WITHIN_S, self._clock)
            except BrokerError as error:  # the records' own times hold
                LOG.warning("Kafka's time is not known: %s", first_line(error))
                self._broker_ahead_s = None
        return self._broker_ahead_s
