"""What the writer does with offers of others: files as their author wrote them, one commit for all, nothing deleted."""

import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from pyiceberg.types import StringType

from k2ctl.clock import ManualClock, SystemClock
from k2ctl.domain.checkpoint import NO_CHANGE, Counts, OffsetDelta, TopicPartition
from k2ctl.domain.cut_records import LARGEST_RECORD, CutDocuments, cut
from k2ctl.domain.ledger import DeferredRange, LedgerChange
from k2ctl.domain.offer_records import answer_document, answer_in, offer_in
from k2ctl.domain.offers import ANNOUNCED_LIVES_S, Offer, Refusal
from k2ctl.domain.rows import HOUR_NS
from k2ctl.errors import LakeError
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.lake.described_files import described, files_in
from k2ctl.lake.files import write_rows
from k2ctl.lake.writer import TableWriter
from k2ctl.lake.written_offer import WrittenOffer
from tests.made_trades import make_rows, make_trades, varied_trades

Rows = list[tuple[int, int]]


class Table:
    """One table, and writers of as many processes as the test asks for."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, ManualClock()
        self._lakes: list[Lake] = []
        self.committer = self.writer()

    def lake(self) -> Lake:
        self._lakes.append(Lake(f"sqlite:///{self.folder}/catalog.db", f"file://{self.folder}/warehouse"))
        return self._lakes[-1]

    def writer(self) -> TableWriter:
        return TableWriter(self.lake(), self.clock)

    def rows(self) -> Rows:
        found = self._lakes[0].table().scan(selected_fields=("kafka_partition", "kafka_offset")).to_arrow()
        return sorted(zip(*(found[name].to_pylist() for name in found.column_names), strict=True))

    def files_on_disk(self) -> set[Path]:
        return set((self.folder / "warehouse").rglob("*.parquet"))

    def close(self) -> None:
        for lake in self._lakes:
            lake.close()


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    made = Table(tmp_path)
    yield made
    made.close()


def write(
    writer: TableWriter,
    starts: Mapping[int, int],
    bases: Mapping[int, str] | None = None,
    change: LedgerChange = NO_CHANGE,
) -> WrittenOffer:
    """Ten trades of each partition, from where it starts."""
    parts, deltas = [], {}
    for partition, start in starts.items():
        rows = make_rows(make_trades(10, start + partition * 1_000), start)
        rows.partition[:] = partition
        parts.append(rows)
        base = (bases or {}).get(partition)
        deltas[TopicPartition("t", "e", partition)] = OffsetDelta(start, start + 10, Counts(seen=10, stored=10), base)
    return writer.write([parts[0].concatenate(parts)], deltas, change)


def sent(written: WrittenOffer) -> Offer:
    """The offer as another process reads it from its records."""
    (document,) = CutDocuments().all_of([*cut(written.document(), 500)])
    offer = offer_in(document)
    assert offer is not None
    return offer


def ten_of(*starts: tuple[int, int]) -> Rows:
    return sorted((partition, offset) for partition, start in starts for offset in range(start, start + 10))


def test_a_described_file_is_the_file_that_was_written(table: Table) -> None:
    trades = varied_trades(400)
    trades["event_ns"][200:] += 5 * HOUR_NS
    files = write_rows(table.lake().table(), make_rows(trades), 5)
    read = files_in([described(file) for file in files])
    assert read is not None
    assert len(files) >= 2
    assert [file._data for file in read] == [file._data for file in files]
    assert all(file.lower_bounds and file.sort_order_id is not None for file in read)


def test_what_a_committer_stores_stands_in_the_manifest_as_its_author_wrote_it(table: Table) -> None:
    offers = [write(table.writer(), {partition: 0}) for partition in range(3)]
    assert table.committer.commit_offers([sent(offer) for offer in offers]).taken == 3
    found = table.lake().table()
    snapshot = found.current_snapshot()
    assert snapshot is not None
    entries = [e.data_file for m in snapshot.manifests(found.io) for e in m.fetch_manifest_entry(found.io)]
    written = [file for offer in offers for file in offer.files or []]
    assert {file.file_path: file._data for file in entries} == {file.file_path: file._data for file in written}


def test_offers_of_many_are_one_commit_and_each_partition_has_the_id_of_its_offer(table: Table) -> None:
    offers = [sent(write(table.writer(), {partition: 0})) for partition in range(5)]
    done = table.committer.commit_offers(offers)
    stands = checkpoints_of(table.lake().table())
    assert (done.taken, done.answer.stored) == (5, {offer.id for offer in offers})
    assert {at.partition: known.commit_id for at, known in stands.by_partition.items()} == {
        partition: offer.id for partition, offer in enumerate(offers)
    }
    assert len(table.lake().table().metadata.snapshots) == 1
    assert answer_in(answer_document(done.answer)) == done.answer
    assert done.answer.checkpoints == stands
    assert table.rows() == ten_of(*((partition, 0) for partition in range(5)))


def test_offers_that_follow_each_other_are_taken_in_whatever_order_they_come(table: Table) -> None:
    first = write(table.writer(), {0: 0})
    second = write(table.writer(), {0: 10, 1: 0}, {0: first.offer.id})
    third = write(table.writer(), {1: 10}, {1: second.offer.id})
    done = table.committer.commit_offers([sent(third), sent(second), sent(first)])
    assert done.taken == 3
    assert table.rows() == ten_of((0, 0), (0, 10), (1, 0), (1, 10))


def test_an_offer_that_one_partition_fences_is_refused_as_a_whole_and_its_author_stores_the_rest(table: Table) -> None:
    late = write(table.writer(), {0: 0, 1: 0})
    announced = sent(late)
    table.committer.commit_offers([sent(write(table.writer(), {0: 0}))])
    files = table.files_on_disk()
    assert table.committer.commit_offers([announced]).answer.refused == {announced.id: Refusal.BEHIND}
    done = table.writer().commit_written(late)
    assert (done.stored, done.fenced, done.commit_id != announced.id) == (10, (TopicPartition("t", "e", 0),), True)
    assert table.rows() == ten_of((0, 0), (1, 0))
    assert files < table.files_on_disk(), "what was announced is left to orphan removal"


def test_an_offer_for_another_schema_is_refused_and_written_again_by_its_author(table: Table) -> None:
    late = write(table.writer(), {0: 0})
    announced = sent(late)
    with table.lake().table().update_schema() as change:
        change.add_column("note", StringType())
    assert table.committer.commit_offers([announced]).answer.refused == {announced.id: Refusal.LAYOUT}
    assert table.writer().commit_written(late).commit_id == announced.id
    assert table.rows() == ten_of((0, 0))


@pytest.mark.parametrize("off_s", [ANNOUNCED_LIVES_S + 1, -ANNOUNCED_LIVES_S - 1])
def test_an_offer_that_is_too_old_or_from_a_clock_ahead_is_its_authors_to_commit(table: Table, off_s: float) -> None:
    late = write(table.writer(), {0: 0})
    announced = replace(sent(late), written_us=late.offer.written_us - round(off_s * 1e6))
    assert table.committer.commit_offers([announced]).answer.refused == {announced.id: Refusal.OLD}
    table.clock.advance(ANNOUNCED_LIVES_S + 1)
    assert table.writer().commit_written(late).stored == 10
    assert table.rows() == ten_of((0, 0))


def test_an_offer_with_damaged_files_or_for_another_table_is_refused_and_ends_nobody(table: Table) -> None:
    good, damaged, other = (sent(write(table.writer(), {partition: 0})) for partition in range(3))
    no_file, no_partition = (replace(damaged, id=name, files=(text,)) for name, text in DAMAGE.items())
    done = table.committer.commit_offers([no_file, no_partition, replace(other, table="another"), good])
    assert done.answer.refused == {
        no_file.id: Refusal.DAMAGED,
        no_partition.id: Refusal.DAMAGED,
        other.id: Refusal.TABLE,
    }
    assert table.rows() == ten_of((0, 0))


DAMAGE = {
    "no file": b"{}",
    "no partition": (
        b'{"file_path": "x", "partition": [], "record_count": 1, "file_size_in_bytes": 1, "split_offsets": null, '
        b'"sort_order_id": null, "column_sizes": null, "value_counts": null, "null_value_counts": null, '
        b'"nan_value_counts": null, "lower_bounds": null, "upper_bounds": null}'
    ),
}


def test_an_author_whose_answer_was_lost_finds_its_offer_in_the_history_when_all_of_it_has_moved_on(
    table: Table,
) -> None:
    late = write(table.writer(), {0: 0})
    table.committer.commit_offers([sent(late), sent(write(table.writer(), {1: 0}))])
    table.committer.commit_offers([sent(write(table.writer(), {0: 10}, {0: late.offer.id}))])
    done = table.writer().commit_written(late)
    assert (done.commit_id, done.stored, done.fenced) == (late.offer.id, 10, ())
    assert table.rows() == ten_of((0, 0), (0, 10), (1, 0))


def test_who_stood_still_until_its_spill_files_were_removed_names_none_of_them(table: Table) -> None:
    entry = DeferredRange("t", "e", 0, 0, 10, 15, "p", 1, 3, 0, 0, f"file://{table.folder}/gone.ids")
    late = write(table.writer(), {0: 0}, change=LedgerChange((entry,)))
    table.clock.advance(3_601)
    with pytest.raises(LakeError, match="stood still"):
        table.writer().commit_written(late)
    assert table.rows() == []


def test_no_record_nears_a_megabyte_when_an_offer_has_three_hundred_files(table: Table) -> None:
    written = write(table.writer(), {0: 0})
    written.files = [*(written.files or [])] * 300
    records = cut(written.document())
    assert max(map(len, records)) <= LARGEST_RECORD
    (document,) = CutDocuments().all_of([*records])
    assert len(getattr(offer_in(document), "files", ())) == 300


@pytest.mark.slow
@pytest.mark.by_hand  # a figure of a quiet machine
def test_a_commit_of_64_files_takes_at_most_one_and_a_half_times_as_long_as_one_of_one(table: Table) -> None:
    stands: dict[int, tuple[int, str | None]] = dict.fromkeys(range(64), (0, None))
    writer, committer = table.writer(), TableWriter(table.lake(), SystemClock())

    def commit_of(partitions: int) -> float:
        offers = []
        for partition in range(partitions):
            start, base = stands[partition]
            written = write(writer, {partition: start}, {partition: base} if base else None)
            stands[partition] = (start + 10, written.offer.id)
            offers.append(replace(sent(written), written_us=SystemClock().now_us()))
        started_s = time.perf_counter()
        assert committer.commit_offers(offers).taken == partitions
        return time.perf_counter() - started_s

    for _ in range(30):
        commit_of(1)
    one, many = zip(*((commit_of(1), commit_of(64)) for _ in range(25)), strict=True)
    assert statistics.median(many) <= 1.5 * statistics.median(one)
