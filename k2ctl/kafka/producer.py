"""Trades into Kafka: whole batches at a time, none lost and none doubled, and what became of them.

`produce_batch` is the fast way: one call for thousands of records, and only what fails is reported, because a callback
for every record costs almost half of the rate. How long an acknowledgement takes is measured on one symbol, whose
trades go through a client of their own that reports them all: so each symbol's trades stay in order.
"""

import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import orjson
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from hdrh.histogram import HdrHistogram

from k2ctl.clock import SystemClock
from k2ctl.domain.trade import decode
from k2ctl.domain.wire import SBE, RecordFormat
from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError
from k2ctl.kafka.clients import LOG, producer_config

CHUNK_RECORDS: Final = 5_000
HIGHEST_US: Final = 60_000_000
"""Latencies up to a minute are measured; what takes longer counts as a minute."""
STATISTICS_MS: Final = 250


def new_histogram() -> HdrHistogram:
    """Microseconds, to two digits: enough for a percentile, and a few KB."""
    return HdrHistogram(1, HIGHEST_US, 2)


NOT_IN_TIME: Final = "Kafka did not answer before the load ended"
_PURGED: Final = (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT)


class BatchProducer:
    """Sends batches of trades to one topic. Counts are of trades; `records` of Kafka records."""

    def __init__(
        self,
        endpoints: Endpoints,
        topic: str,
        frame: int,
        sample: bytes = b"",
        written: RecordFormat = SBE,
        read: Callable[[list[bytes]], np.ndarray] = lambda values: decode(values).trades,
    ) -> None:
        """read: the trades of values that were written; of SBE where not given."""
        self._topic = topic
        self._clock = SystemClock()
        self._frame = frame
        self._written = written
        self._read = read
        self.sample = sample
        """The symbol whose acknowledgements are timed; none where it is empty."""

        self._wire_bytes = 0
        self._statistics = 0
        self.wire_records = 0
        """Records that Kafka had confirmed when `wire_bytes` were counted, which is up to a quarter second ago."""
        self.enqueued = 0
        self.records = 0
        self._finished_records = 0
        self.failed = 0
        self.failed_records = 0
        self.failed_by: dict[str, int] = {}
        """Reason → trades that Kafka did not acknowledge for it."""
        self._failed: list[np.ndarray] = []
        self._refused = ""
        self.latency = new_histogram()
        config = {
            "on_delivery": self._on_failure,
            "stats_cb": self._on_statistics,
            "statistics.interval.ms": STATISTICS_MS,
        }
        self._producer = Producer(producer_config(endpoints, **config))
        self._sampler = Producer(producer_config(endpoints, **{"delivery.report.only.error": False}))
        # Before the partitions are known librdkafka may let later records overtake the first ones.
        try:
            for client in (self._producer, self._sampler):
                client.list_topics(topic, timeout=10)
        except KafkaException as error:
            raise BrokerError(f"Kafka does not answer: {error.args[0].str()}", "See: k2ctl stack status") from error

    def send(self, trades: np.ndarray, per_partition: np.ndarray, due_us: int) -> None:
        """Send trades that are sorted by partition; waits while the queue is full.

        per_partition: int64[partitions], how many go to each. due_us: when the last of them was due; the sampled
        latency counts from there, so that waiting for the queue is part of it.

        Raises:
            BrokerError: the client takes some of them not; those have failed.
        """
        start = 0
        for partition, count in enumerate(per_partition.tolist()):
            if count:
                self._send_to(partition, trades[start : start + count], due_us)
                start += count
        self.enqueued += len(trades)
        self.poll()
        if self._refused:
            raise BrokerError(f"Kafka takes no records: {self._refused}", "See: k2ctl stack status")

    def send_all(self, trades: np.ndarray, per_partition: np.ndarray) -> None:
        """Send trades that are sorted by partition and wait for their acknowledgement.

        Raises:
            BrokerError: some were not acknowledged.
        """
        self.send(trades, per_partition, self._clock.now_us())
        self.finish(60.0)
        if self.failed:
            reasons = ", ".join(self.failed_by)
            raise BrokerError(f"{self.failed:,} trades were not acknowledged: {reasons}", "See: k2ctl stack status")

    def _send_to(self, partition: int, trades: np.ndarray, due_us: int) -> None:
        if self.sample:
            sampled = trades["symbol"] == self.sample
            if sampled.any():
                self._send_sampled(self._written.encode(trades[sampled], self._frame), partition, due_us)
                trades = trades[~sampled]
        self._send_values(self._written.encode(trades, self._frame), partition)

    def _send_sampled(self, values: list[bytes], partition: int, due_us: int) -> None:
        def on_delivery(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self._on_failure(error, message)
                return
            self.latency.record_value(min(HIGHEST_US, max(1, self._clock.now_us() - due_us)))

        for value in values:
            while True:
                try:
                    self._sampler.produce(self._topic, value, partition=partition, on_delivery=on_delivery)
                    break
                except BufferError:
                    self._sampler.poll(0.05)
                except KafkaException as error:
                    self._refuse(error.args[0], value)
                    break
        self.records += len(values)

    def _send_values(self, values: list[bytes], partition: int) -> None:
        for at in range(0, len(values), CHUNK_RECORDS):
            messages: list[Any] = [{"value": value} for value in values[at : at + CHUNK_RECORDS]]
            while True:
                taken = self._producer.produce_batch(self._topic, messages, partition=partition)
                self.records += taken
                if taken == len(messages):
                    break
                refused = [message for message in messages if "_error" in message]
                if refused[0]["_error"].code() != KafkaError._QUEUE_FULL:
                    self.records += len(refused)
                    for message in refused:
                        self._refuse(message["_error"], message["value"])
                    break
                self._producer.poll(0.05)
                messages = [{"value": message["value"]} for message in refused]

    def _refuse(self, error: KafkaError, value: bytes) -> None:
        """The client does not take a record, and waiting does not help; it has failed like one that Kafka refuses."""
        self._refused = error.str()
        self._fail(error, value)

    def _on_failure(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._fail(error, message.value() or b"")

    def _fail(self, error: KafkaError, value: bytes) -> None:
        trades = self._read([value])
        self._failed.append(trades)
        self.failed += len(trades)
        self.failed_records += 1
        reason = NOT_IN_TIME if error.code() in _PURGED else error.str()
        if reason not in self.failed_by:
            LOG.warning("%s does not acknowledge trades: %s", self._topic, reason)
        self.failed_by[reason] = self.failed_by.get(reason, 0) + len(trades)

    def take_failed(self) -> list[np.ndarray]:
        """The trades whose delivery failed since the last call: Kafka may have them or not."""
        failed, self._failed = self._failed, []
        return failed

    def _on_statistics(self, document: str) -> None:
        self._statistics += 1
        self._wire_bytes = int(orjson.loads(document).get("tx_bytes", 0))
        self.wire_records = self.acknowledged_records

    @property
    def wire_bytes(self) -> int:
        """Bytes sent to the broker, compressed and with the protocol's own, as librdkafka counted last."""
        return self._wire_bytes

    @property
    def in_flight_records(self) -> int:
        """Records not yet acknowledged, at most: librdkafka counts statistics and errors that wait for a poll, too."""
        return min(len(self._producer) + len(self._sampler), self.records - self._finished_records)

    @property
    def acknowledged_records(self) -> int:
        """Records that Kafka has confirmed."""
        return self.records - self.failed_records - self.in_flight_records

    def poll(self) -> None:
        """Serve callbacks."""
        self._producer.poll(0)
        self._sampler.poll(0)

    def count_up(self) -> None:
        """Wait for librdkafka's next statistics, so that `wire_bytes` are those of everything that was finished."""
        self._producer.poll(0)
        seen, latest_s = self._statistics, time.monotonic() + 4 * STATISTICS_MS / 1000
        while self._statistics == seen and time.monotonic() < latest_s:
            self._producer.poll(STATISTICS_MS / 1000)

    def finish(self, timeout_s: float) -> None:
        """Wait until everything is acknowledged, for at most `timeout_s`; what is not by then has failed."""
        for client in (self._producer, self._sampler):
            if client.flush(timeout_s):
                client.purge()
                client.flush(timeout_s)
        self._finished_records = self.records


def publish(endpoints: Endpoints, topic: str, values: list[tuple[str, bytes]]) -> None:
    """A few keyed records, all acknowledged: reference data.

    Raises:
        BrokerError: one was not.
    """
    failed: list[str] = []
    producer = Producer(producer_config(endpoints))
    try:
        for key, value in values:
            producer.produce(topic, value, key=key, on_delivery=lambda error, _: failed.append(str(error)))
    except KafkaException as error:
        raise BrokerError(f"{topic}: {error.args[0].str()}", "See: k2ctl stack status") from error
    left = producer.flush(30.0)
    if left or failed:
        raise BrokerError(
            f"{left + len(failed)} records of {topic} were not acknowledged: {(failed or ['timeout'])[0]}",
            "See: k2ctl stack status",
        )
