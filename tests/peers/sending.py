"""Trades of k2ctl's synthetic market into a topic, and what was sent.

`python -m tests.peers.sending ADDRESS TOPIC PROFILE FORM RATE SECONDS` is a paced load in a process of its own: it
sends every 20 ms, whatever was late before.
"""

import json
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaError, Message, Producer

from k2ctl.load.market import SyntheticMarket, new_run_id
from k2ctl.profiles import load_profile
from k2ctl.profiles.universe import Universe
from tests.peers.records import FORMS, Form

_TICKS_PER_S: Final = 50
_SETTINGS: Final = {
    "acks": "all",
    "enable.idempotence": True,
    "compression.type": "lz4",
    "linger.ms": 5,
    "batch.size": 1_000_000,
    "queue.buffering.max.messages": 1_000_000,
    "queue.buffering.max.kbytes": 262_144,
    "delivery.report.only.error": True,
    "log_level": 0,
}


@dataclass
class Sent:
    """What Kafka has acknowledged: trades, the sums of their mantissas, records and bytes."""

    trades: int = 0
    price: int = 0
    quantity: int = 0
    records: int = 0
    bytes: int = 0


class Sender:
    """Sends trades of one market in one form."""

    def __init__(self, address: str, topic: str, profile: Path, form: Form) -> None:
        self._market = SyntheticMarket(Universe(load_profile(str(profile))), new_run_id())
        self._topic, self._form = topic, form
        self._failed = 0
        self.sent = Sent()
        self._producer = Producer({**_SETTINGS, "bootstrap.servers": address, "on_delivery": self._note})
        self._producer.list_topics(topic, timeout=10)

    def _note(self, error: KafkaError | None, _: Message) -> None:
        self._failed += error is not None

    def send(self, count: int, *, now: bool) -> None:
        """Send so many trades, of the last minute or of now."""
        at_us = time.time_ns() // 1000
        batch = self._market.take(count, at_us - (20_000 if now else 60_000_000), at_us)
        trades = batch.trades
        trades["received_ns"] = at_us * 1000
        self.sent.trades += len(trades)
        self.sent.price += int(trades["price"]["low"].astype(object).sum())
        self.sent.quantity += int(trades["quantity"]["low"].astype(object).sum())
        start = 0
        for partition, size in enumerate(batch.per_partition.tolist()):
            part = trades[start : start + size]
            start += size
            values = self._form.encode(part) if size else []
            keys = part["symbol"].tolist() if self._form.has_keys else [None] * len(values)
            for key, value in zip(keys, values, strict=True):
                self._produce(partition, key, value)
        self._producer.poll(0)

    def _produce(self, partition: int, key: bytes | None, value: bytes) -> None:
        self.sent.records += 1
        self.sent.bytes += len(value)
        while True:
            try:
                self._producer.produce(self._topic, value, key=key, partition=partition)
                return
            except BufferError:
                self._producer.poll(0.05)

    def finish(self) -> Sent:
        """Wait until all of it is acknowledged."""
        left = self._producer.flush(60) + self._failed
        assert not left, f"{left} records were not acknowledged"
        return self.sent


def main(arguments: list[str]) -> None:
    """See above; prints what was sent, since when, and how late it was at the worst."""
    address, topic, profile, form, rate, seconds = arguments
    sender = Sender(address, topic, Path(profile), FORMS[form])
    enough: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: enough.append(number))
    start_s, late_s = time.time(), 0.0
    for tick in range(int(float(seconds) * _TICKS_PER_S)):
        if enough:
            break
        due_s = start_s + tick / _TICKS_PER_S
        time.sleep(max(0.0, due_s - time.time()))
        late_s = max(late_s, time.time() - due_s)
        sender.send(int(rate) // _TICKS_PER_S, now=True)
    sent = asdict(sender.finish())
    sys.stdout.write(json.dumps({"sent": sent, "from_us": int(start_s * 1e6), "late_s": late_s}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
