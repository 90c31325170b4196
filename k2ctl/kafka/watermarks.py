"""The ends of partitions, followed beside the reading of them.

A fetch brings the watermark of that moment. A consumer whose queue is full does not fetch: its lag would seem steady
while it grows.
"""

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from k2ctl.clock import Clock
from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError, first_line
from k2ctl.kafka.admin import ANSWER_TIMEOUT_S, LEADER_POLICY, BrokerAdmin, has_no_leader_yet, refused
from k2ctl.kafka.clients import LOG, consumer_config
from k2ctl.retry import retry

EVERY_S: Final = 0.5
IDLE_EVERY_S: Final = 2.0
"""Where nothing has come since the last answer; the fetch that brings something brings its watermark, too."""

KNOWN_FOR_S: Final = 5.0
"""How long an answer counts; without a newer one the watermarks are unknown."""


@dataclass(frozen=True)
class Silence:
    """Kafka does not answer."""

    servers: str
    # Since the last answer.
    seconds: float
    # The client's last error; empty before the first.
    error: str

    def __str__(self) -> str:
        reason = f": {self.error}" if self.error else ""
        return f"Kafka at {self.servers} has not answered for {self.seconds:.0f} s{reason}"


class WatermarkFollower:
    """Asks the broker twice a second, less often where nothing comes, on a thread of its own."""

    def __init__(self, endpoints: Endpoints, topic: str, known: Mapping[int, int], clock: Clock) -> None:
        """known: partition → high watermark, as just asked; the partitions to follow."""
        self._endpoints = endpoints
        self._topic = topic
        self._clock = clock
        self._partitions = tuple(known)
        self._known: tuple[float, dict[int, int]] = (self._clock.monotonic_s(), dict(known))
        self._held: dict[int, tuple[int, int]] = {}
        self._error = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="k2-watermarks", daemon=True)
        self._thread.start()

    def latest(self) -> dict[int, int] | None:
        """Partition → high watermark, at most five seconds old; None when Kafka has not answered for that long."""
        at_s, marks = self._known
        return marks if marks and self._clock.monotonic_s() - at_s < KNOWN_FOR_S else None

    @property
    def held(self) -> Mapping[int, tuple[int, int]]:
        """Partition → (last stable offset, end), where an open transaction separates the two."""
        return self._held

    def silence(self) -> Silence | None:
        """Since when Kafka has not answered; None while it does."""
        silent_s = self._clock.monotonic_s() - self._known[0]
        return Silence(self._endpoints.bootstrap_servers, silent_s, self._error) if silent_s >= KNOWN_FOR_S else None

    def _run(self) -> None:
        with BrokerAdmin(self._endpoints) as admin:
            while not self._stop.is_set():
                before, pause_s = self._known[1], EVERY_S
                try:
                    # The ends first: what is committed between the two questions is no open transaction.
                    highs = admin.high_watermarks(self._topic, self._partitions)
                    self._note_answer(highs)
                    stable = admin.stable_ends(self._topic, self._partitions)
                    self._held = {p: (stable[p], high) for p, high in highs.items() if stable[p] < high}
                    pause_s = IDLE_EVERY_S if highs == before and not self._held else EVERY_S
                except BrokerError as error:
                    self._note_error(first_line(error))
                self._stop.wait(pause_s)

    def _note_answer(self, highs: dict[int, int]) -> None:
        now_s = self._clock.monotonic_s()
        if self._error:
            LOG.info("Kafka answers again", extra={"topic": self._topic, "after_s": round(now_s - self._known[0], 1)})
        self._known, self._error = (now_s, highs), ""

    def _note_error(self, error: str) -> None:
        """Log the first error after an answer; those that follow say the same."""
        if not self._error:
            LOG.warning("the watermarks of %s cannot be read: %s", self._topic, error)
        self._error = error

    def close(self) -> None:
        """Stop asking; a question under way is not waited for."""
        self._stop.set()
        self._thread.join(0.2)


_LATEST = -1
"""The time that asks for the end, in Kafka's ListOffsets request."""


class LogEnds:
    """Asks for the ends of many partitions in one request, on the thread that waits for them. Thread-safe.

    The admin client passes each answer on through a thread of its own and a future per partition, which in a busy
    process takes several times as long as the request.
    """

    def __init__(self, endpoints: Endpoints) -> None:
        # The end of the log itself, as admin clients have it; else that of the oldest open transaction.
        own = {"group.id": "k2ctl-ends", "isolation.level": "read_uncommitted"}
        self._consumer = Consumer(consumer_config(endpoints, **own))

    def of(self, topic: str, partitions: Collection[int]) -> tuple[int, dict[int, int]]:
        """How many partitions a topic has now, none if there is no such topic, and the ends of those that are known.

        Raises:
            BrokerError: Kafka does not answer.
        """
        wanted = [TopicPartition(topic, partition, _LATEST) for partition in partitions]

        def ask() -> tuple[int, dict[int, int]]:
            listed = self._consumer.list_topics(topic, ANSWER_TIMEOUT_S).topics[topic]
            return (len(listed.partitions), self._asked(wanted)) if listed.partitions else (0, {})

        try:
            return retry(ask, policy=LEADER_POLICY, again=has_no_leader_yet)
        except KafkaException as error:
            raise refused(error) from error

    def since(self, topic: str, partitions: Collection[int], time_ms: int) -> dict[int, int | None]:
        """Partition → its first record of a time, by Kafka's timestamps, or later; None where there is none.

        Not for the embedded engine, whose Kafka knows of none.

        Raises:
            BrokerError: Kafka does not answer.
        """
        wanted = [TopicPartition(topic, partition, max(0, time_ms)) for partition in partitions]
        try:
            found = retry(lambda: self._asked(wanted), policy=LEADER_POLICY, again=has_no_leader_yet)
        except KafkaException as error:
            raise refused(error) from error
        return {partition: offset if offset >= 0 else None for partition, offset in found.items()}

    def _asked(self, wanted: list[TopicPartition]) -> dict[int, int]:
        answers = self._consumer.offsets_for_times(wanted, timeout=ANSWER_TIMEOUT_S) if wanted else []
        for answer in answers:
            if answer.error is not None:
                raise KafkaException(answer.error)
        return {answer.partition: answer.offset for answer in answers}


def open_transaction(held: Mapping[int, tuple[int, int]]) -> str:
    """A sentence about open transactions. held: partition → (last stable offset, end of the log)."""
    records = sum(end - stable for stable, end in held.values())
    first, (stable, end) = min(held.items())
    others = f" and {len(held) - 1} more" if len(held) > 1 else ""
    return (
        f"an open transaction holds back {records:,} offsets (partition {first}: readable to {stable:,}, ends at "
        f"{end:,}{others}); its producer has to end it, or Kafka aborts it after transaction.timeout.ms"
    )
