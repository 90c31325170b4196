"""What time it is by Kafka: no good trade is refused because the clock of this machine is behind."""

from typing import Final

from k2ctl.clock import Clock
from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError, first_line
from k2ctl.kafka.clients import LOG
from k2ctl.kafka.probe import clock_ahead_s

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
