"""Group commit on a table of SQLite, with a clock and a topic of the test's own: who answers, and who does not."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from k2ctl.consume.group_commit.author import URGENT_PATIENCE_S
from k2ctl.consume.group_commit.committing import IDLE_FOR_S, CommitterTotals
from k2ctl.domain.announcement import LEAST_PATIENCE_S
from k2ctl.domain.checkpoint import TopicPartition
from tests.support.commit_topic import LINGER_S, Consumers, ten_trades


@pytest.fixture
def consumers(tmp_path: Path) -> Iterator[Consumers]:
    made = Consumers(tmp_path)
    yield made
    made.close()


def test_an_offer_is_committed_by_the_committer_and_its_author_knows_the_table(consumers: Consumers) -> None:
    author, totals = consumers.author(), CommitterTotals()
    consumers.topic.meanwhile = consumers.term(totals).step
    first, second = ten_trades(author), ten_trades(author, start=10)
    assert (first.stored, first.fenced, first.attempts) == (10, (), 1)
    assert second.checkpoints == consumers.checkpoints()
    assert second.checkpoints.by_partition[TopicPartition("t", "e", 0)].commit_id == second.commit_id
    assert (author.totals.announced, author.totals.direct) == (2, 0)
    assert (totals.commits, totals.offers, totals.conflicts) == (2, 2, 0)
    assert consumers.rows() == 20
    assert author.announcement_age_s is None


def test_who_is_not_answered_announces_again_and_then_commits_by_itself(consumers: Consumers) -> None:
    author = consumers.author()
    committed = ten_trades(author)
    assert committed.stored == consumers.rows() == 10
    assert consumers.topic.sent_s == pytest.approx([0.0, LEAST_PATIENCE_S])
    assert consumers.clock.monotonic_s() == pytest.approx(2 * LEAST_PATIENCE_S, abs=0.2)
    assert (author.totals.announced, author.totals.direct) == (1, 1)
    assert consumers.elections == 2, "nobody has ever answered, and nobody answered this offer"
    assert author.announcement_age_s == pytest.approx(2 * LEAST_PATIENCE_S, abs=0.2)
    consumers.topic.meanwhile = consumers.term().step
    ten_trades(author, start=10)
    assert author.announcement_age_s is None


def test_an_announcement_that_was_lost_is_made_again(consumers: Consumers) -> None:
    author, consumers.topic.lose_announcements = consumers.author(), 1
    consumers.topic.meanwhile = consumers.term().step
    assert ten_trades(author).stored == 10
    assert len(consumers.topic.sent_s) == 2
    assert author.totals.direct == 0


def test_an_answer_that_was_lost_is_found_in_the_table(consumers: Consumers) -> None:
    author, consumers.topic.lose_answers = consumers.author(), 1
    consumers.topic.meanwhile = consumers.term().step
    committed = ten_trades(author)
    assert (committed.stored, committed.fenced) == (10, ())
    assert len(consumers.topic.sent_s) == 1
    assert (consumers.rows(), consumers.snapshots()) == (10, 1)


def test_without_its_topic_an_author_commits_at_once(consumers: Consumers) -> None:
    author, consumers.topic.is_gone = consumers.author(), True
    assert ten_trades(author).stored == 10
    assert consumers.clock.monotonic_s() < 0.1


def test_a_topic_that_is_back_finds_its_committer_gone(consumers: Consumers) -> None:
    author = consumers.author()
    consumers.topic.meanwhile = consumers.term().step
    ten_trades(author)
    assert consumers.elections == 1
    consumers.topic.is_gone = True
    ten_trades(author, start=10)
    consumers.topic.is_gone = False
    ten_trades(author, start=20)
    assert consumers.elections == 2


def test_an_author_whom_nobody_answers_does_not_wait_longer_each_time(consumers: Consumers) -> None:
    author = consumers.author()
    for number in range(6):
        ten_trades(author, start=10 * number)
    sent_s = consumers.topic.sent_s
    assert [again - first for first, again in zip(sent_s[::2], sent_s[1::2], strict=True)] == pytest.approx(
        [LEAST_PATIENCE_S] * 6
    )


def test_a_topic_that_vanishes_while_an_author_waits_holds_it_no_longer(consumers: Consumers) -> None:
    author = consumers.author()

    def vanish() -> None:
        if consumers.clock.monotonic_s() > 0.5:
            consumers.topic.is_gone = True
            consumers.topic.require()

    consumers.topic.meanwhile = vanish
    assert ten_trades(author).stored == 10
    assert consumers.clock.monotonic_s() < LEAST_PATIENCE_S


def test_an_offer_that_somebody_waits_for_waits_for_nobody(consumers: Consumers) -> None:
    author = consumers.author()
    author.hurry()
    assert ten_trades(author).stored == 10
    assert consumers.clock.monotonic_s() <= 2 * URGENT_PATIENCE_S + 0.1
    ten_trades(author, start=10)
    assert consumers.clock.monotonic_s() > 2 * LEAST_PATIENCE_S, "the next one has time again"


def test_who_has_to_hurry_while_it_waits_announces_at_once(consumers: Consumers) -> None:
    author = consumers.author()

    def hurry() -> None:
        if consumers.clock.monotonic_s() >= 0.3:
            author.hurry()

    consumers.topic.meanwhile = hurry
    ten_trades(author)
    assert consumers.topic.sent_s == pytest.approx([0.0, 0.3], abs=0.06)
    assert consumers.clock.monotonic_s() < 0.3 + 2 * URGENT_PATIENCE_S + 0.1


def test_an_urgent_offer_is_committed_without_linger_and_takes_the_others_along(consumers: Consumers) -> None:
    patient, hurried, totals = consumers.author(), consumers.author(), CommitterTotals()
    consumers.topic.meanwhile = lambda: None
    term = consumers.term(totals)
    urgent_at_s = 0.0

    def second_author() -> None:
        nonlocal urgent_at_s
        if not urgent_at_s:
            urgent_at_s = consumers.clock.monotonic_s()
            hurried.hurry()
            consumers.topic.meanwhile = term.step
            ten_trades(hurried, partition=1)

    consumers.topic.meanwhile = second_author
    ten_trades(patient)
    assert consumers.clock.monotonic_s() - urgent_at_s < LINGER_S
    assert (totals.commits, totals.offers) == (1, 2)


def test_what_comes_within_the_linger_is_one_commit(consumers: Consumers) -> None:
    authors, totals = [consumers.author() for _ in range(4)], CommitterTotals()
    term, started = consumers.term(totals), 0

    def others() -> None:
        nonlocal started
        if started < 3:
            started += 1
            assert ten_trades(authors[started], partition=started).stored == 10
        else:
            term.step()

    consumers.topic.meanwhile = others
    assert ten_trades(authors[0]).stored == 10
    assert (totals.commits, totals.offers, consumers.snapshots()) == (1, 4, 1)
    assert consumers.rows() == 40


def test_two_committers_and_announcements_that_come_twice_store_nothing_twice(consumers: Consumers) -> None:
    author, totals = consumers.author(), CommitterTotals()
    first, second = consumers.term(totals), consumers.term(totals)

    def both() -> None:
        consumers.topic.announcements += consumers.topic.announcements[:1]
        first.step()
        second.step()

    consumers.topic.meanwhile = both
    for start in range(0, 50, 10):
        assert ten_trades(author, start=start).stored == 10
    assert (consumers.rows(), consumers.snapshots(), totals.offers) == (50, 5, 5)


def test_an_answer_says_to_who_was_given_up_that_it_is_fenced(consumers: Consumers) -> None:
    zombie, owner = consumers.author(), consumers.author()
    consumers.topic.meanwhile = consumers.term().step
    assert ten_trades(owner).stored == 10
    committed = ten_trades(zombie)
    assert (committed.stored, committed.fenced) == (0, (TopicPartition("t", "e", 0),))
    assert committed.snapshot_id is None
    assert consumers.clock.monotonic_s() < LEAST_PATIENCE_S, "an answer says so"
    assert consumers.rows() == 10


def test_an_offer_ahead_of_the_table_waits_for_the_one_before_it(consumers: Consumers) -> None:
    ahead, before, term = consumers.author(), consumers.author(), consumers.term()
    is_begun = False
    consumers.topic.meanwhile = term.step
    ten_trades(before)

    def begin() -> None:
        nonlocal is_begun
        term.step()
        if not is_begun:
            is_begun = True
            ten_trades(before, start=10)

    consumers.topic.meanwhile = begin
    assert ten_trades(ahead, start=20).stored == 10
    assert consumers.rows() == 30
    assert ahead.totals.direct == 0


def test_who_ends_commits_what_has_come_and_who_hears_nothing_gives_up(consumers: Consumers) -> None:
    author, term = consumers.author(), consumers.term()
    consumers.topic.meanwhile = term.finish
    assert ten_trades(author).stored == 10
    assert author.totals.direct == 0
    while term.step():
        assert consumers.clock.monotonic_s() < IDLE_FOR_S + 2
    assert consumers.clock.monotonic_s() >= IDLE_FOR_S


def test_a_committer_whose_topic_was_away_reads_on(consumers: Consumers) -> None:
    author, term = consumers.author(), consumers.term()
    consumers.topic.is_gone = True
    assert term.step()
    consumers.topic.is_gone = False
    consumers.topic.meanwhile = term.step
    assert ten_trades(author).stored == 10
    assert author.totals.direct == 0


@pytest.mark.parametrize("crash", ["before the commit", "before the answer"])
def test_a_committer_that_dies_leaves_its_offers_to_the_next(
    consumers: Consumers, crash: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    author, dying, totals = consumers.author(), consumers.term(), CommitterTotals()
    is_dead = False

    def die(*_: object) -> None:
        nonlocal is_dead
        is_dead = True
        raise RuntimeError

    where, name = (dying._writer, "commit_offers") if crash == "before the commit" else (dying._channel, "answer")
    monkeypatch.setattr(where, name, die)
    following: list[Callable[[], object]] = []

    def step() -> None:
        if not is_dead:
            try:
                dying.step()
            except RuntimeError:
                following.append(consumers.term(totals).step)
        elif consumers.clock.monotonic_s() > 0.5:
            following[0]()

    consumers.topic.meanwhile = step
    assert ten_trades(author).stored == 10
    assert (consumers.rows(), consumers.snapshots()) == (10, 1)
    assert author.totals.direct == 0
    assert totals.offers == (crash == "before the commit")
