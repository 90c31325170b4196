"""What is new in the table is in memory before a query asks for it."""

from pathlib import Path

from k2ctl.clock import SystemClock
from k2ctl.domain.checkpoint import Counts, OffsetDelta, TopicPartition
from k2ctl.lake.catalog import Lake
from k2ctl.lake.snapshots import TableFollower
from k2ctl.lake.writer import TableWriter
from k2ctl.query.ahead import LookAhead
from k2ctl.query.history import Asked, History
from tests.made_trades import make_rows, make_trades
from tests.support.object_store import ObjectStore
from tests.support.polling import until

EACH = 200


def commit(writer: TableWriter, number: int) -> None:
    start = number * EACH
    delta = OffsetDelta(start, start + EACH, Counts(seen=EACH, stored=EACH))
    writer.commit([make_rows(make_trades(EACH, start), start)], {TopicPartition("t", "e", 0): delta})


def test_a_query_finds_a_new_file_in_memory_though_the_store_is_gone(
    fragile_store: ObjectStore, tmp_path: Path
) -> None:
    store = fragile_store
    with Lake(f"sqlite:///{tmp_path}/catalog.db", store.folder(), store.storage) as lake:
        writer, table, history = TableWriter(lake, SystemClock()), TableFollower(lake), History(lake)
        commit(writer, 0)
        first = table.pin()
        assert first is not None
        history.newest(first.intact(), Asked(), None)
        ahead = LookAhead(table.pin, History(lake, history))
        try:
            until(lambda: ahead.opened == 0)
            commit(writer, 1)
            until(lambda: ahead.opened == 1)
            store.stop()
            newest = table.pin()
            assert newest is not None
            assert len(history.newest(newest.intact(), Asked(), None)) == 2 * EACH
        finally:
            store.start()
            ahead.close()
            history.close()
