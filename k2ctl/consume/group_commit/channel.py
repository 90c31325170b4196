"""Both ends of the topic of commits, in offers and answers. Each may raise a BrokerError: others go on without."""

from typing import Final

from k2ctl.clock import Clock
from k2ctl.domain.cut_records import CutDocuments, cut
from k2ctl.domain.offer_records import answer_document, answer_in, offer_in
from k2ctl.domain.offers import CommitterAnswer, Offer
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.commits import ANNOUNCEMENTS, ANSWERS, CommitReader, CommitSender

SENT_WITHIN_S: Final = 2.0


class AuthorChannel:
    """The end of who announces. Not thread-safe."""

    def __init__(self, endpoints: Endpoints, table: str, clock: Clock) -> None:
        self._table = table
        self._sender = CommitSender(endpoints)
        self._reader = CommitReader(endpoints, ANSWERS, table, clock)
        self._documents = CutDocuments()

    def begin(self) -> None:
        """Read the answers that come from now on."""
        self._reader.begin()

    def announce(self, document: bytes) -> None:
        """Send an offer; on return Kafka has it."""
        self._sender.send(ANNOUNCEMENTS, self._table, cut(document), SENT_WITHIN_S)

    def answers(self, wait_s: float) -> list[CommitterAnswer]:
        """The answers that have come, also to others; waits at most `wait_s` for one."""
        found = map(answer_in, self._documents.all_of([*self._reader.fetch(wait_s)]))
        return [answer for answer in found if answer is not None]

    def rest(self) -> None:
        """Read no more, until the next `begin`."""
        self._reader.rest()

    def close(self) -> None:
        """Leave Kafka."""
        self._sender.close()
        self._reader.close()


class CommitterChannel:
    """The end of who commits. Not thread-safe."""

    def __init__(self, endpoints: Endpoints, table: str, clock: Clock) -> None:
        self._table = table
        self._sender = CommitSender(endpoints)
        self._reader = CommitReader(endpoints, ANNOUNCEMENTS, table, clock)
        self._documents = CutDocuments()

    def begin(self, back_s: float) -> None:
        """Read the announcements of the last `back_s` seconds, and those to come."""
        self._reader.begin(back_s)

    def offers(self, wait_s: float) -> list[Offer]:
        """The offers that have come; waits at most `wait_s` for one."""
        found = map(offer_in, self._documents.all_of([*self._reader.fetch(wait_s)]))
        return [offer for offer in found if offer is not None and offer.table == self._table]

    def answer(self, answer: CommitterAnswer) -> None:
        """Send an answer; on return Kafka has it."""
        self._sender.send(ANSWERS, self._table, cut(answer_document(answer)), SENT_WITHIN_S)

    def close(self) -> None:
        """Leave Kafka."""
        self._sender.close()
        self._reader.close()
