"""Group commit as a machine: whatever is lost, doubled, late or dead, and whoever commits, each offset is stored once.

The rule, the author's steps, the committer's hold on offers and their records are the real ones; table, store, topic
and clock are made. Each rule of the machine is one thing that may happen between two others.
"""

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from k2ctl.domain.announcement import Announced, HeldOffers, NextStep
from k2ctl.domain.checkpoint import Checkpoints, Counts, OffsetDelta, TopicPartition
from k2ctl.domain.cut_records import CutDocuments, cut
from k2ctl.domain.ledger import DeferredRange, LedgerChange
from k2ctl.domain.offer_records import answer_document, answer_in, offer_document, offer_in
from k2ctl.domain.offers import (
    Choice,
    CommitterAnswer,
    Layout,
    Offer,
    TableState,
    choose,
    fenced_partitions,
)

PARTITIONS, AUTHORS, COMMITTERS = 3, 3, 2
HOUR_S = 3_600.0
FIRST = Layout(0, 0)
PIECE = 250
"""Bytes of a record, so that an offer has some of them."""

authors = st.integers(0, AUTHORS - 1)
committers = st.integers(0, COMMITTERS - 1)
lengths_of_ranges = st.lists(st.sampled_from([1, 2, 3, 0]), min_size=PARTITIONS, max_size=PARTITIONS)
losses = st.sampled_from([set[int](), set[int](), set[int](), {0}, set(range(100))])
"""Which records of an announcement do not arrive."""

Range = tuple[int, int, int]
Chooses = Callable[[TableState, Iterable[Offer], int, Iterable[str]], Choice]


def at(partition: int) -> TopicPartition:
    return TopicPartition("t", "e", partition)


@dataclass
class MadeTable:
    """A table whose swap succeeds only on the version that was loaded."""

    id: str = "table"
    layout: Layout = FIRST
    version: int = 0
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    # The files that it names, and the offers that it took, as far as snapshots have not expired.
    files: frozenset[str] = frozenset()
    history: tuple[str, ...] = ()
    # Earlier snapshots: checkpoints, files, history.
    past: list[tuple[Checkpoints, frozenset[str], tuple[str, ...]]] = field(default_factory=list)

    def state(self) -> TableState:
        return TableState(self.id, self.layout, self.checkpoints)

    def swap(self, version: int, checkpoints: Checkpoints, files: Iterable[str], taken: Iterable[str]) -> bool:
        if version != self.version:
            return False
        self.past.append((self.checkpoints, self.files, self.history))
        self.version += 1
        self.checkpoints = replace(checkpoints, commit_id=str(uuid.uuid4()), sequence_number=self.version)
        self.files |= frozenset(files)
        self.history += tuple(taken)
        return True


@dataclass
class Author:
    """A consumer: what it is assigned, what it knows of the table, and its offer."""

    assigned: set[int] = field(default_factory=set)
    known: Checkpoints = field(default_factory=Checkpoints)
    offer: Offer | None = None
    announced: Announced | None = None
    # Of a direct commit: the table as loaded.
    loaded: tuple[int, TableState, tuple[str, ...]] | None = None


@dataclass
class MadeCommitter:
    """A committer: which record of the topic it reads next, what it holds, and the table as loaded."""

    reads: int = 0
    documents: CutDocuments = field(default_factory=CutDocuments)
    held: HeldOffers = field(default_factory=lambda: HeldOffers(0.0))
    loaded: tuple[int, TableState, tuple[str, ...]] | None = None


class GroupCommit(RuleBasedStateMachine):
    choose: Chooses = staticmethod(choose)

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 10 * HOUR_S
        self.table = MadeTable()
        # File → the offsets that are in it, and when it was written. Spill files have none.
        self.store: dict[str, tuple[tuple[Range, ...], float]] = {}
        self.authors = [Author() for _ in range(AUTHORS)]
        for partition in range(PARTITIONS):
            self.authors[partition % AUTHORS].assigned.add(partition)
        self.committers = [MadeCommitter() for _ in range(COMMITTERS)]
        self.topic: list[bytes] = []
        self.answers: list[bytes] = []
        self.ever_taken: set[str] = set()
        self.read_up_to = dict.fromkeys(range(PARTITIONS), 0)

    @property
    def now_us(self) -> int:
        return round(self.now_s * 1e6)

    @rule(order=st.permutations(range(AUTHORS)), some=st.integers(1, AUTHORS), both=st.booleans(), defers=st.booleans())
    def all_goes_well(self, order: list[int], some: int, both: bool, defers: bool) -> None:
        """Some authors announce, a committer (or both at once) commits what it has read, and they get its answer."""
        for author in order[:some]:
            self.an_author_works(author, [2] * PARTITIONS, defers, set(), False)
        for n in range(COMMITTERS if both else 1):
            self.a_committer_works(n, 1_000, False)
        for n in range(COMMITTERS if both else 1):
            self.a_committer_swaps(n)
        for author in order[:some]:
            self.an_answer_arrives(author, 1)
            self.an_author_works(author, [1] * PARTITIONS, defers, set(), False)

    # Authors.

    @rule(n=authors, lengths=lengths_of_ranges, defers=st.booleans(), lost=losses, twice=st.booleans())
    def an_author_works(self, n: int, lengths: list[int], defers: bool, lost: set[int], twice: bool) -> None:
        """One step: it writes an offer, announces it, takes note of an answer, or does half of a direct commit."""
        if self.authors[n].offer is None:
            self.an_author_writes_an_offer(n, lengths, defers)
        self.an_author_goes_on(n, lost, twice)

    def an_author_writes_an_offer(self, n: int, lengths: list[int], defers: bool) -> None:
        author = self.authors[n]
        deltas, rows, added = {}, list[Range](), list[DeferredRange]()
        for partition in author.assigned:
            known, length = author.known.by_partition.get(at(partition)), lengths[partition]
            start, base = (known.next_offset, known.commit_id) if known else (0, None)
            if not length:
                continue
            end = start + length
            counts = Counts(seen=length, stored=length)
            if defers and length > 1:
                counts = Counts(seen=length, stored=length - 1, spilled=1)
                added.append(self.spilled(partition, end - 1))
            rows.append((partition, start, start + counts.stored))
            deltas[at(partition)] = OffsetDelta(start, end, counts, base)
            self.read_up_to[partition] = max(self.read_up_to[partition], end)
        if deltas:
            self.offer(author, deltas, rows, LedgerChange(tuple(added)))

    def spilled(self, partition: int, offset: int) -> DeferredRange:
        name = f"spill {uuid.uuid4()}"
        self.store[name] = ((), self.now_s)
        return DeferredRange(*at(partition), offset, offset + 1, 15, "policy", 1, 1, 0, 0, name)

    @rule(n=authors)
    def an_author_backfills(self, n: int) -> None:
        """It offers rows that were deferred: no offset moves."""
        author = self.authors[n]
        entry = next((e for e in author.known.ledger.entries if e.partition in author.assigned), None)
        if author.offer is None and entry is not None:
            known = author.known.by_partition[at(entry.partition)]
            counts = Counts(stored=entry.count, spilled=-entry.count)
            delta = OffsetDelta(known.next_offset, known.next_offset, counts, known.commit_id)
            change = LedgerChange(resolved=((entry, None),))
            self.offer(author, {at(entry.partition): delta}, [(entry.partition, entry.start, entry.end)], change)

    def offer(
        self, author: Author, deltas: dict[TopicPartition, OffsetDelta], rows: list[Range], change: LedgerChange
    ) -> None:
        name, offer_id = f"data {uuid.uuid4()}", str(uuid.uuid4())
        self.store[name] = (tuple(rows), self.now_s)
        author.offer = Offer(
            offer_id, self.table.id, self.table.layout, deltas, change, written_us=self.now_us, files=(name.encode(),)
        )
        author.announced = Announced(offer_id, self.table.id, patience_s=1.0)

    def an_author_goes_on(self, n: int, lost: set[int], twice: bool) -> None:
        author = self.authors[n]
        if author.offer is None or author.announced is None:
            return
        step = author.announced.step(self.now_s)
        if step is NextStep.ANNOUNCE:
            records = cut(offer_document(author.offer), PIECE)
            arrive = [record for number, record in enumerate(records) if number not in lost]
            self.topic += arrive * (2 if twice else 1)
            author.announced = author.announced.announced(self.now_s)
        elif step is NextStep.STORED:
            assert author.announced.answer is not None
            self.note_stored(author, author.announced.answer.checkpoints)
        elif step is NextStep.COMMIT_DIRECTLY:
            self.commits_directly(author)

    def commits_directly(self, author: Author) -> None:
        """One half of it: the table is loaded, or swapped."""
        assert author.offer is not None
        if author.loaded is None:
            author.loaded = (self.table.version, self.table.state(), self.table.history)
            return
        (version, state, history), author.loaded = author.loaded, None
        choice = self.choose(state, [author.offer], self.now_us, history)
        if choice.stored:
            self.note_stored(author, choice.checkpoints)
        elif choice.taken:
            if self.swap(version, choice):
                self.note_stored(author, self.table.checkpoints)
        else:
            self.offer_the_rest(author, state.checkpoints)

    def offer_the_rest(self, author: Author, checkpoints: Checkpoints) -> None:
        """Refused: fenced partitions are dropped and the files written again, as another offer."""
        assert author.offer is not None
        assert author.announced is not None
        offer, announced = author.offer, author.announced
        fenced = fenced_partitions(checkpoints, offer.deltas)
        left = {where: delta for where, delta in offer.deltas.items() if where not in fenced}
        if announced.times == 0:  # a committer may have read of the others
            self.delete(file.decode() for file in offer.files)
            self.delete(entry.spill for entry in offer.change.added if at(entry.partition) in fenced)
        lost = [entry for entry in offer.change.added if entry.spill not in self.store]
        if not left or lost:  # after an hour; the program ends then
            self.opens_again(author)
            return
        rows = [row for row in self.rows_of(offer) if at(row[0]) in left]
        self.offer(author, left, rows, offer.change.where(lambda entry: at(entry.partition) in left))

    def rows_of(self, offer: Offer) -> list[Range]:
        change = offer.change
        if change.resolved:
            return [(entry.partition, entry.start, entry.end) for entry, _ in change.resolved]
        return [
            (where.partition, delta.start, delta.start + delta.counts.stored) for where, delta in offer.deltas.items()
        ]

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            self.store.pop(name, None)

    def note_stored(self, author: Author, checkpoints: Checkpoints) -> None:
        assert author.offer is not None
        assert author.offer.id in self.ever_taken, "an author believes what is not so"
        author.known, author.offer, author.announced = checkpoints, None, None

    def opens_again(self, author: Author) -> None:
        author.known, author.offer, author.announced, author.loaded = self.table.checkpoints, None, None, None

    @rule(n=authors, partition=st.integers(0, PARTITIONS - 1), how=st.sampled_from(["unaware", "orderly", "crash"]))
    def a_partition_goes_to(self, n: int, partition: int, how: str) -> None:
        """From whoever had it, who reads on as one that was suspended (unaware), gives it up, or has crashed."""
        for other in self.authors:
            if partition in other.assigned and how == "crash":
                self.opens_again(other)
        unaware = how == "unaware"
        for other in self.authors:
            if other is not self.authors[n] and not unaware:
                other.assigned.discard(partition)
        author = self.authors[n]
        author.assigned.add(partition)
        if author.offer is None:
            author.known = self.table.checkpoints

    @rule(n=authors, back=st.sampled_from([1, 1, 1, 2, 3, 8]))
    def an_answer_arrives(self, n: int, back: int) -> None:
        """Any of the last ones, in any order; others never arrive."""
        author = self.authors[n]
        if author.announced is not None and len(self.answers) >= back:
            answer = answer_in(self.answers[-back])
            assert answer is not None
            author.announced = author.announced.answered(answer)

    # Committers.

    @rule(n=committers, records=st.sampled_from([100, 100, 3]), at_once=st.booleans())
    def a_committer_works(self, n: int, records: int, at_once: bool) -> None:
        """One step: it reads and loads the table, or swaps; at_once: both."""
        if self.committers[n].loaded is None:
            self.a_committer_reads(n, records)
            self.a_committer_loads_the_table(n)
            if not at_once:
                return
        self.a_committer_swaps(n)

    def a_committer_reads(self, n: int, records: int) -> None:
        committer = self.committers[n]
        for record in self.topic[committer.reads : committer.reads + records]:
            document = committer.documents.add(record)
            offer = None if document is None else offer_in(document)
            if offer is not None:
                committer.held.add(offer, self.now_s)
        committer.reads = min(len(self.topic), committer.reads + records)

    def a_committer_loads_the_table(self, n: int) -> None:
        if self.committers[n].held.due_s() is not None:
            self.committers[n].loaded = (self.table.version, self.table.state(), self.table.history)

    def a_committer_swaps(self, n: int) -> None:
        committer = self.committers[n]
        if committer.loaded is None:
            return
        (version, state, history), committer.loaded = committer.loaded, None
        choice = self.choose(state, committer.held.offers(), self.now_us, history)
        if choice.taken and not self.swap(version, choice):
            return
        after = self.table.checkpoints if choice.taken else state.checkpoints
        stored = frozenset(offer.id for offer in (*choice.taken, *choice.stored))
        answer = CommitterAnswer(self.table.id, "", None, stored, choice.refused, after)
        if answer.says_something:
            self.answers.append(answer_document(answer))
        committer.held.answered([*stored, *choice.refused])
        committer.held.wait(self.now_s, self.now_us, 1.0)

    def swap(self, version: int, choice: Choice) -> bool:
        files = [file.decode() for offer in choice.taken for file in offer.files]
        taken = [offer.id for offer in choice.taken]
        if not self.table.swap(version, choice.checkpoints, files, taken):
            return False
        self.ever_taken |= set(taken)
        return True

    @rule(n=committers, back=st.integers(0, 60))
    def a_committer_dies_and_another_reads_from_further_back(self, n: int, back: int) -> None:
        self.committers[n] = MadeCommitter(reads=max(0, len(self.topic) - back))

    # The world.

    @rule(seconds=st.sampled_from([2.0, 2.0, 2.0, 500.0, HOUR_S]))
    def time_passes(self, seconds: float) -> None:
        """After an hour, orphan removal has run."""
        self.now_s += seconds
        if seconds == HOUR_S:
            self.orphans_are_removed()

    @rule(what=st.sampled_from(["compaction", "expiry", "rollback", "rollback", "schema"]), back=st.integers(1, 3))
    def others_change_the_table(self, what: str, back: int) -> None:
        if what == "compaction":
            self.compaction()
        elif what == "expiry":
            self.snapshots_expire(back - 1)
        elif what == "rollback" and self.table.past:
            self.the_table_is_rolled_back(back)
        elif what == "schema":
            self.the_schema_changes()

    def compaction(self) -> None:
        """Every file becomes one."""
        rows = tuple(row for name in sorted(self.table.files) for row in self.store[name][0])
        if rows:
            name = f"data {uuid.uuid4()}"
            self.store[name] = (rows, self.now_s)
            checkpoints = self.table.checkpoints
            self.table.past.append((checkpoints, self.table.files, self.table.history))
            self.table.files, self.table.version = frozenset([name]), self.table.version + 1

    def snapshots_expire(self, keep: int) -> None:
        self.table.past = self.table.past[len(self.table.past) - keep :] if keep else []
        self.table.history = self.table.history[-keep:] if keep else ()

    def orphans_are_removed(self) -> None:
        named = self.named().union(*(self.named_by(*snapshot[:2]) for snapshot in self.table.past))
        gone = [n for n, (_, at_s) in self.store.items() if n not in named and at_s < self.now_s - HOUR_S]
        self.delete(gone)

    def the_table_is_rolled_back(self, back: int) -> None:
        table = self.table
        snapshot = table.past[-min(back, len(table.past))]
        table.past.append((table.checkpoints, table.files, table.history))
        table.checkpoints, table.files, table.history = snapshot
        table.version += 1

    def the_schema_changes(self) -> None:
        self.table.layout = Layout(self.table.layout.schema_id + 1, 0)
        self.table.version += 1

    def named(self) -> set[str]:
        return self.named_by(self.table.checkpoints, self.table.files)

    def named_by(self, checkpoints: Checkpoints, files: frozenset[str]) -> set[str]:
        return {*files, *checkpoints.ledger.spill_files}

    # What always holds.

    @invariant()
    def nothing_that_is_named_was_deleted(self) -> None:
        assert self.named() <= self.store.keys()

    @invariant()
    def every_offset_is_there_once(self) -> None:
        checkpoints = self.table.checkpoints
        found: dict[int, list[tuple[int, int]]] = {partition: [] for partition in range(PARTITIONS)}
        for name in self.table.files:
            for partition, start, end in self.store[name][0]:
                found[partition].append((start, end))
        for entry in checkpoints.ledger.entries:
            found[entry.partition].append((entry.start, entry.end))
        for partition, ranges in found.items():
            stands = 0
            for start, end in sorted(ranges):
                assert start == stands, f"partition {partition}: {sorted(ranges)}"
                stands = end
            checkpoint = checkpoints.by_partition.get(at(partition))
            assert stands == (checkpoint.next_offset if checkpoint else 0)
            if checkpoint:
                assert checkpoint.counts.balanced
                assert checkpoint.counts.seen == stands

    def teardown(self) -> None:
        """Left alone, every author comes to an end, and whoever is assigned everything reads up to the end."""
        self.every_author_ends()
        for author in self.authors[1:]:
            author.assigned = set()
        last = self.authors[0]
        last.assigned = set(range(PARTITIONS))
        self.opens_again(last)
        for _ in range(PARTITIONS):
            stands = [self.table.checkpoints.by_partition.get(at(p)) for p in range(PARTITIONS)]
            missing = [self.read_up_to[p] - (known.next_offset if known else 0) for p, known in enumerate(stands)]
            self.an_author_writes_an_offer(0, [max(0, more) for more in missing], False)
            self.every_author_ends()
            self.opens_again(last)
        self.every_offset_is_there_once()
        self.nothing_that_is_named_was_deleted()
        for partition, end in self.read_up_to.items():
            known = self.table.checkpoints.by_partition.get(at(partition))
            assert (known.next_offset if known else 0) >= end

    def every_author_ends(self) -> None:
        for n, author in enumerate(self.authors):
            for _ in range(40):
                self.an_author_goes_on(n, set(), False)
                self.now_s += 0.5
            assert author.offer is None, "an author waits for ever"


QUICK = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)


def test_each_offset_is_stored_once_whatever_happens_in_between() -> None:
    run_state_machine_as_test(GroupCommit, settings=QUICK)


@pytest.mark.slow
def test_each_offset_is_stored_once_whatever_happens_in_between_at_length() -> None:
    run_state_machine_as_test(
        GroupCommit, settings=settings(QUICK, max_examples=400, stateful_step_count=60, derandomize=False)
    )


def with_deltas(offer: Offer, change: Callable[[TopicPartition, OffsetDelta], OffsetDelta]) -> Offer:
    return replace(offer, deltas={where: change(where, delta) for where, delta in offer.deltas.items()})


def takes_what_starts_before(state: TableState, offers: Iterable[Offer], now_us: int, stored: Iterable[str]) -> Choice:
    """A rule that takes an offer which starts before the table's offset."""
    known = state.checkpoints.by_partition

    def moved(where: TopicPartition, delta: OffsetDelta) -> OffsetDelta:
        behind = where in known and delta.start < known[where].next_offset <= delta.end
        return replace(delta, start=known[where].next_offset, base=None) if behind else delta

    return choose(state, [with_deltas(offer, moved) for offer in offers], now_us, stored)


def takes_what_starts_ahead(state: TableState, offers: Iterable[Offer], now_us: int, stored: Iterable[str]) -> Choice:
    """A rule that takes an offer which starts behind the table's offset."""
    known = state.checkpoints.by_partition

    def moved(where: TopicPartition, delta: OffsetDelta) -> OffsetDelta:
        stands = known[where].next_offset if where in known else 0
        return replace(delta, start=stands, base=None) if delta.start > stands else delta

    return choose(state, [with_deltas(offer, moved) for offer in offers], now_us, stored)


def knows_no_base(state: TableState, offers: Iterable[Offer], now_us: int, stored: Iterable[str]) -> Choice:
    """A rule that compares offsets alone, and passes over what has become of the ledger."""
    known = set(state.checkpoints.ledger.entries)

    def bold(offer: Offer) -> Offer:
        left = tuple(resolution for resolution in offer.change.resolved if resolution[0] in known)
        change = LedgerChange(offer.change.added, left) if offer.change.resolved else offer.change
        return replace(with_deltas(offer, lambda _, delta: replace(delta, base=None)), change=change)

    return choose(state, [bold(offer) for offer in offers], now_us, stored)


def knows_no_age(state: TableState, offers: Iterable[Offer], now_us: int, stored: Iterable[str]) -> Choice:
    """A rule that takes an offer of any age."""
    return choose(state, [replace(offer, written_us=now_us) for offer in offers], now_us, stored)


@pytest.mark.parametrize("wrong", [takes_what_starts_before, takes_what_starts_ahead, knows_no_base, knows_no_age])
def test_the_machine_finds_a_wrong_rule(wrong: Chooses) -> None:
    class Wrong(GroupCommit):
        choose = staticmethod(wrong)

    many = settings(QUICK, max_examples=2_000, report_multiple_bugs=False, phases=[Phase.generate])
    with pytest.raises((AssertionError, KeyError)):
        run_state_machine_as_test(Wrong, settings=many)
