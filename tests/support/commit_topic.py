"""The topic of commits in a test's memory, on a clock that the test moves: it may lose messages, and say no."""

from collections.abc import Callable
from pathlib import Path

from k2ctl.clock import ManualClock
from k2ctl.consume.group_commit.author import OfferAuthor
from k2ctl.consume.group_commit.committing import CommitterTerm, CommitterTotals
from k2ctl.domain.checkpoint import Checkpoints, Counts, OffsetDelta, TopicPartition
from k2ctl.domain.offer_records import answer_document, answer_in, offer_in
from k2ctl.domain.offers import CommitterAnswer, Offer
from k2ctl.errors import BrokerError
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.lake.writer import TableWriter
from k2ctl.lake.written_offer import Committed
from tests.made_trades import make_rows, make_trades


class TopicInMemory:
    """What was announced and answered, as documents."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.announcements: list[bytes] = []
        self.answers: list[bytes] = []
        self.sent_s: list[float] = []
        """When each announcement was made, by the test's clock."""
        self.lose_announcements = 0
        self.lose_answers = 0
        self.is_gone = False
        self.meanwhile: Callable[[], object] = lambda: None
        """What the others do while an author waits."""

    def require(self) -> None:
        if self.is_gone:
            raise BrokerError("the topic has gone")


class AuthorInMemory:
    """See `AuthorChannel`."""

    def __init__(self, topic: TopicInMemory) -> None:
        self._topic = topic
        self._at: int | None = None

    def begin(self) -> None:
        self._topic.require()
        self._at = len(self._topic.answers)

    def announce(self, document: bytes) -> None:
        self._topic.require()
        self._topic.sent_s.append(self._topic.clock.monotonic_s())
        if self._topic.lose_announcements:
            self._topic.lose_announcements -= 1
        else:
            self._topic.announcements.append(document)

    def answers(self, wait_s: float) -> list[CommitterAnswer]:
        self._topic.require()
        assert self._at is not None, "who rests reads nothing"
        before_s = self._topic.clock.monotonic_s()
        self._topic.meanwhile()
        found, self._at = self._topic.answers[self._at :], len(self._topic.answers)
        if not found:
            self._topic.clock.advance(max(0.0, before_s + wait_s - self._topic.clock.monotonic_s()))
        return [answer for answer in map(answer_in, found) if answer is not None]

    def rest(self) -> None:
        self._at = None

    def close(self) -> None:
        pass


class CommitterInMemory:
    """See `CommitterChannel`."""

    def __init__(self, topic: TopicInMemory) -> None:
        self._topic = topic
        self._at = 0

    def begin(self, back_s: float) -> None:
        self._topic.require()
        self._at = 0

    def offers(self, wait_s: float) -> list[Offer]:
        self._topic.require()
        found, self._at = self._topic.announcements[self._at :], len(self._topic.announcements)
        if not found:
            self._topic.clock.advance(wait_s)
        return [offer for offer in map(offer_in, found) if offer is not None]

    def answer(self, answer: CommitterAnswer) -> None:
        self._topic.require()
        if self._topic.lose_answers:
            self._topic.lose_answers -= 1
        else:
            self._topic.answers.append(answer_document(answer))

    def close(self) -> None:
        pass


LINGER_S = 0.25


class Consumers:
    """Authors of one table, each of a partition of its own, and the committers that the test starts."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.topic = TopicInMemory(self.clock)
        self._places = (f"sqlite:///{folder}/catalog.db", f"file://{folder}/warehouse")
        self._lakes: list[Lake] = []
        self.elections = 0

    def lake(self) -> Lake:
        self._lakes.append(Lake(*self._places))
        return self._lakes[-1]

    def author(self) -> OfferAuthor:
        lake = self.lake()
        writer = TableWriter(lake, self.clock)
        return OfferAuthor(writer, AuthorInMemory(self.topic), self.checkpoints, self._elect, self.clock)

    def _elect(self) -> None:
        self.elections += 1

    def term(self, totals: CommitterTotals | None = None) -> CommitterTerm:
        writer = TableWriter(self.lake(), self.clock)
        return CommitterTerm(CommitterInMemory(self.topic), writer, self.clock, LINGER_S, totals or CommitterTotals())

    def checkpoints(self) -> Checkpoints:
        return checkpoints_of(self._lakes[0].table())

    def snapshots(self) -> int:
        return len(self._lakes[0].table().metadata.snapshots)

    def rows(self) -> int:
        return len(self._lakes[0].table().scan(selected_fields=("trade_id",)).to_arrow())

    def close(self) -> None:
        for lake in self._lakes:
            lake.close()


def ten_trades(author: OfferAuthor, partition: int = 0, start: int = 0) -> Committed:
    """Ten trades of one partition, from an offset on."""
    delta = OffsetDelta(start, start + 10, Counts(seen=10, stored=10))
    rows = make_rows(make_trades(10, start, session=partition), start)
    rows.partition[:] = partition
    return author.commit([rows], {TopicPartition("t", "e", partition): delta})
