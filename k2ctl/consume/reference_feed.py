"""Step 5, enrichment: the newest reference data of each symbol, read from its topic, joined, and stored beside trades.

Reference data is sector, tick size and lot size by symbol. It is small, and changes a few times a day.
"""

import logging
import threading
from typing import Final

import numpy as np

from k2ctl.clock import Clock
from k2ctl.domain.rows import NOT_IN_REFERENCE, Rows
from k2ctl.domain.texts import codes_of
from k2ctl.domain.trade import REFERENCE
from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError, first_line
from k2ctl.kafka.admin import BrokerAdmin, Watermarks
from k2ctl.kafka.reader import Fetched, read_between
from k2ctl.lake.catalog import Lake
from k2ctl.lake.references import store_references
from k2ctl.timing import Every

LOG: Final = logging.getLogger("k2ctl.consume")

EVERY_S: Final = 10.0
ENDS_WITHIN_S: Final = 1.0
STORED_AFTER_S: Final = 0.5
STORED_WITHIN_S: Final = 20.0
LIMIT_RECORDS: Final = 1_000_000


class ReferenceTable:
    """The newest reference data of each symbol. Small: a venue has thousands of symbols, not millions."""

    def __init__(self) -> None:
        self._newest: dict[bytes, np.void] = {}
        # The entries, and where each symbol's is: replaced together, as another thread reads them.
        self._known: tuple[np.ndarray, dict[bytes, int]] = (REFERENCE.empty(0), {})

    def __len__(self) -> int:
        return len(self.entries)

    def update(self, fetched: Fetched) -> None:
        """Take in records of the reference topic, oldest first; records that are not reference data are skipped."""
        for value in fetched.values:
            for entry in reference_entries(value):
                self._newest[entry["symbol"]] = entry
        if len(fetched):
            table = np.array(list(self._newest.values()), REFERENCE.message)
            self._known = (table, {symbol: at for at, symbol in enumerate(self._newest)})

    @property
    def entries(self) -> np.ndarray:
        """The newest entry of each symbol (dtype `REFERENCE.message`)."""
        return self._known[0]

    def step(self, rows: Rows) -> Rows:
        """The same rows, each pointing at its symbol's reference data."""
        table, position = self._known
        codes, symbols = codes_of(rows.trades["symbol"])
        where = np.array([position.get(symbol, NOT_IN_REFERENCE) for symbol in symbols.tolist()], np.int32)
        return Rows(
            rows.topic,
            rows.epoch,
            rows.trades,
            rows.partition,
            rows.offset,
            rows.index,
            where[codes] if len(rows) else rows.reference,
            table,
        )


def reference_entries(value: bytes) -> np.ndarray:
    """The entries (dtype `REFERENCE.message`) of a record; none where it is not reference data."""
    size = REFERENCE.message.itemsize
    if not value or len(value) % size:
        return REFERENCE.empty(0)
    entries = np.frombuffer(value, REFERENCE.message)
    ours = (entries["template_id"] == REFERENCE.header[1]) & (entries["schema_id"] == REFERENCE.header[2])
    return np.asarray(entries[ours])


class ReferenceFeed:
    """Reads what is new on the reference topic, if there is one, every few seconds.

    On a thread of its own: a Kafka or a catalog that does not answer would hold up the consumer, which its whole group
    waits for in a rebalance.
    """

    def __init__(self, endpoints: Endpoints, topic: str | None, lake: Lake, clock: Clock) -> None:
        self._endpoints = endpoints
        self._topic = topic
        self._lake = lake
        self._clock = clock
        self._admin: BrokerAdmin | None = None
        self._read_to: dict[int, int] = {}
        self._unstored = False
        self._every = Every(EVERY_S, clock)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="k2-references", daemon=True)
        self.table = ReferenceTable()

    def start(self) -> None:
        """Take in what is there, then follow what comes. It is stored a little later: trades are waiting."""
        self._take_in()
        if self._topic is not None:
            self._thread.start()

    def _run(self) -> None:
        self._stop.wait(STORED_AFTER_S)
        self._store()
        while not self._stop.wait(EVERY_S):
            self.refresh()

    def stop(self, *, hurry: bool) -> None:
        """Follow no more; one that waits for an answer is left to itself."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(ENDS_WITHIN_S if hurry else STORED_WITHIN_S)

    def refresh(self) -> None:
        """Take in and store what has come since the last time; cheap to call often."""
        self._take_in()
        self._store()

    def _take_in(self) -> None:
        if self._topic is None or not self._every.due():
            return
        try:
            # To open a client takes more of the processor than all that an idle consumer does meanwhile.
            self._admin = self._admin or BrokerAdmin(self._endpoints)
            marks = self._admin.watermarks(self._topic)
            unread = {partition: self._unread(partition, mark) for partition, mark in marks.items()}
            fetched, reached, _ = read_between(self._endpoints, self._topic, unread, 5.0, LIMIT_RECORDS)
        except BrokerError as error:
            # The known entries serve on; a Kafka that stays away shows as an unknown lag.
            LOG.warning("reference data is not refreshed: %s", first_line(error))
            self._admin = None
            return
        self._read_to = reached
        if len(fetched):
            self.table.update(fetched)
            self._unstored = len(self.table.entries) > 0

    def _store(self) -> None:
        if self._unstored:
            self._unstored = not store_references(self._lake, self.table.entries, self._clock.now_us())

    def _unread(self, partition: int, mark: Watermarks) -> tuple[int, int]:
        """The unread offsets of a partition; all of them where the topic was recreated and ends earlier."""
        read_to = self._read_to.get(partition, 0)
        return mark.low if read_to > mark.high else max(read_to, mark.low), mark.high
