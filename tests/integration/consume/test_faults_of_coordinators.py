"""The faults that coordinators of other sinks are known for, one test each, by name: here none loses or doubles a row.

Apache Iceberg's issues have them: #16282, #17340, #17551 (old announcements), #18006, #13067 (lost ones), #16016,
#17637 (two coordinators), #17811 (idle tasks), #13117 (swallowed failures), #17450 (the wrong leader); that of records
that are too large is databricks/iceberg-kafka-connect#285.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from k2ctl.consume.group_commit.committing import CommitterTotals
from k2ctl.domain.announcement import ANNOUNCED_TIMES, LEAST_PATIENCE_S
from k2ctl.domain.checkpoint import Checkpoint, Checkpoints, Counts, TopicPartition
from k2ctl.domain.cut_records import CutDocuments, cut
from k2ctl.domain.ledger import DeferredRange, Ledger
from k2ctl.domain.offer_records import answer_document, answer_in
from k2ctl.domain.offers import CommitterAnswer
from tests.support.commit_topic import LINGER_S, Consumers, ten_trades


@pytest.fixture
def consumers(tmp_path: Path) -> Iterator[Consumers]:
    made = Consumers(tmp_path)
    yield made
    made.close()


def test_a_coordinator_reads_old_announcements_again(consumers: Consumers) -> None:
    author, consumers.topic.meanwhile = consumers.author(), consumers.term().step
    for start in range(0, 50, 10):
        ten_trades(author, start=start)
    before, again, totals = consumers.checkpoints(), consumers.topic, CommitterTotals()
    again.announcements *= 2
    consumers.term(totals).finish()
    assert consumers.checkpoints() == before
    assert (totals.offers, consumers.rows()) == (0, 50)


@pytest.mark.parametrize("times", [1, ANNOUNCED_TIMES])
def test_an_announcement_is_lost(consumers: Consumers, times: int) -> None:
    author, consumers.topic.lose_announcements = consumers.author(), times
    consumers.topic.meanwhile = consumers.term().step
    assert ten_trades(author).stored == consumers.rows() == 10
    assert author.totals.direct == (times == ANNOUNCED_TIMES)
    assert consumers.clock.monotonic_s() <= times * LEAST_PATIENCE_S + LINGER_S + 0.2


def test_there_are_two_coordinators(consumers: Consumers, monkeypatch: pytest.MonkeyPatch) -> None:
    totals, others = CommitterTotals(), CommitterTotals()
    author, slow, quick = consumers.author(), consumers.term(totals), consumers.term(others)
    take, meanwhile = slow._writer._swap.take, iter([quick.finish])

    def after_the_other(*arguments: object) -> Checkpoints:
        for commit in meanwhile:
            commit()
        return take(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(slow._writer._swap, "take", after_the_other)
    consumers.topic.meanwhile = slow.step
    assert ten_trades(author).stored == consumers.rows() == 10
    assert (totals.conflicts, totals.offers, others.offers) == (1, 0, 1)
    assert consumers.snapshots() == 1


def test_idle_tasks_hold_every_round(consumers: Consumers) -> None:
    author, _, _ = (consumers.author() for _ in range(3))
    consumers.topic.meanwhile = consumers.term().step
    assert ten_trades(author).stored == 10
    assert consumers.clock.monotonic_s() <= LINGER_S + 0.2, "no round waits for the two that have nothing"
    assert author.totals.direct == 0


def test_a_record_is_too_large() -> None:
    by_partition = {
        TopicPartition("market.equities.trades", "epoch", p): Checkpoint(p**4, Counts(*range(p, p + 9)), f"{p**9:036d}")
        for p in range(2_000)
    }
    entries = [
        DeferredRange("market.equities.trades", "epoch", p, p**3, p**3 + 9, 3, "p", 2, 9, p**2, p**3, f"spill {p**7}")
        for p in range(5_000)
    ]
    checkpoints = Checkpoints("commit", 7, by_partition, Ledger(tuple(entries)))
    answer = CommitterAnswer("table", "commit", 1, frozenset(map(str, range(500))), {}, checkpoints)
    records = cut(answer_document(answer))
    assert max(map(len, records)) <= 200_000
    (document,) = CutDocuments().all_of([*records])
    assert answer_in(document) == answer


def test_failures_are_swallowed(consumers: Consumers) -> None:
    author = consumers.author()
    consumers.topic.meanwhile = lambda: consumers.clock.advance(0.1)  # a coordinator that lives and does nothing
    assert ten_trades(author).stored == 10
    age_s = author.announcement_age_s
    assert age_s is not None
    assert age_s >= 2 * LEAST_PATIENCE_S
    assert author.totals.direct == 1, "nobody has to see it for the trades to be stored"
    consumers.topic.meanwhile = consumers.term().step
    ten_trades(author, start=10)
    assert author.announcement_age_s is None


def test_a_leader_is_chosen_wrongly_in_the_middle_of_a_rebalance(consumers: Consumers) -> None:
    """Two lead, and one partition has two authors: the one that was given it, and the one that does not know."""
    leaders = [consumers.term(), consumers.term()]
    consumers.topic.meanwhile = lambda: [leader.step() for leader in leaders]
    before, after = consumers.author(), consumers.author()
    assert ten_trades(before).stored == 10
    assert ten_trades(after, start=10).stored == 10
    unaware = ten_trades(before, start=10)
    assert (unaware.stored, unaware.fenced) == (0, (TopicPartition("t", "e", 0),))
    assert ten_trades(after, start=20).stored == 10
    assert consumers.rows() == 30
    total = consumers.checkpoints().total()
    assert (total.stored, total.balanced) == (30, True)
