"""What is replayed: trades of files, by a feed, or what the table holds; as one stream in the order of their times."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import numpy as np

from k2ctl.domain.texts import instant_text
from k2ctl.endpoints import Endpoints
from k2ctl.errors import UsageError
from k2ctl.feeds.files.order import TimeOrder, in_folder
from k2ctl.feeds.files.reading import FeedFiles, Findings, WantedTrades
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.lake.catalog import Lake
from k2ctl.lake.in_time_order import StoredTrades
from k2ctl.lake.snapshots import pin
from k2ctl.profiles import Profile
from k2ctl.profiles.foreign import of_others


class Replayed(Protocol):
    """A source of trades in order of time."""

    # How many files are read.
    files: int
    # What was found in them beside trades.
    findings: Findings
    # Whether trades say when they were received; else it is when they are sent.
    has_receive_times: bool

    @property
    def late(self) -> int:
        """Trades that stood too late in their file to come in order."""
        ...

    def require_trades(self) -> None:
        """Raises:
        UsageError: there are none.
        """
        ...

    def survey(self, until: Callable[[], bool]) -> tuple[int, int] | None:
        """The time of the first and of the last trade; None without any. until: true ends it."""
        ...

    def trades(self) -> Iterator[np.ndarray]:
        """The trades (dtype `TRADE.message`) in order of time, some thousand at once."""
        ...

    def stop(self) -> None:
        """End `trades`, from another thread."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


class ReplayedFiles:
    """Files, read by a feed."""

    def __init__(self, files: FeedFiles) -> None:
        self._files = files
        self._opened = ExitStack()
        self._order = TimeOrder(files, Path(self._opened.enter_context(in_folder())))
        self.files, self.findings, self.has_receive_times = len(files.files), files.findings, files.has_receive_times

    @property
    def late(self) -> int:
        """See `Replayed`."""
        return self._order.late

    def require_trades(self) -> None:
        """See `Replayed`."""
        self._files.require_trades()

    def survey(self, until: Callable[[], bool]) -> tuple[int, int] | None:
        """See `Replayed`.

        Raises:
            UsageError: a file does not fit the feed.
        """
        if not self._order.survey(until) or self._order.first_ns is None or self._order.last_ns is None:
            return None
        return self._order.first_ns, self._order.last_ns

    def trades(self) -> Iterator[np.ndarray]:
        """See `Replayed`."""
        return self._order.trades()

    def stop(self) -> None:
        """See `Replayed`."""
        self._files.is_stopped = True

    def close(self) -> None:
        """See `Replayed`."""
        self._opened.close()


class ReplayedLake:
    """What the table holds, with its ids and its times: a test of a strategy reads it as it once came."""

    files, late, has_receive_times = 0, 0, True

    def __init__(self, endpoints: Endpoints, wanted: WantedTrades) -> None:
        self._lake = Lake.at(endpoints)
        symbols = None if wanted.symbols is None else sorted(wanted.symbols)
        self._stored = StoredTrades(self._lake, wanted.since_ns, wanted.until_ns, symbols)
        self._is_stopped = False
        self.findings = Findings()

    def require_trades(self) -> None:
        """See `Replayed`."""
        if self._stored.ends_ns() is None:
            every = StoredTrades(self._lake).ends_ns()
            held = "It is empty." if every is None else "It holds {} to {}.".format(*map(instant_text, every))
            raise UsageError(
                f"The table has none of these trades. {held}",
                "Ask for others with --since, --until and --symbols. What there is: k2ctl lake status",
            )

    def survey(self, _: Callable[[], bool]) -> tuple[int, int] | None:
        """See `Replayed`."""
        return self._stored.ends_ns()

    def trades(self) -> Iterator[np.ndarray]:
        """See `Replayed`."""
        for part in self._stored.in_order():
            if self._is_stopped:
                return
            yield part

    def stop(self) -> None:
        """See `Replayed`."""
        self._is_stopped = True

    def close(self) -> None:
        """See `Replayed`."""
        self._lake.close()


def destination(endpoints: Endpoints, profile: Profile, topic: str) -> Profile:
    """The profile for a topic that what is stored is sent to, which is made if it is missing.

    Raises:
        UsageError: the table is filled from this topic, or it cannot be a topic's name.
        BrokerError: Kafka does not answer, or does not let this user make it.
    """
    chosen = of_others(profile, topic=topic)
    with Lake.at(endpoints) as lake:
        pinned = pin(lake)
    if topic in {profile.trades_topic, *(pinned.checkpoints.topics if pinned else ())}:
        raise UsageError(
            f"The table is filled from {topic}: its consumer would drop each trade as a copy.",
            "Choose another, which is made if it is missing: --topic backtest",
        )
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(topic, profile.topic.partitions)
    return chosen.model_copy(update={"topic": chosen.topic.model_copy(update={"feed": None})})
