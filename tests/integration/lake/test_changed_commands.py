"""Every command on a table that another program has changed or damaged: one sentence and a next step, no traceback."""

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestWriterV2,
    write_manifest_list,
)
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation, Snapshot, Summary
from pyiceberg.table.update import AddSnapshotUpdate, SetSnapshotRefUpdate
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import DecimalType, NestedField, StringType

from k2ctl.checks.doctor.stack import lake_checks
from k2ctl.clock import SystemClock
from k2ctl.domain.checkpoint import PROPERTY, Counts, OffsetDelta, TopicPartition
from k2ctl.domain.topics import REFERENCE_TABLE, TABLE, dead_letter_topic, trades_topic
from k2ctl.domain.trade import REFERENCE
from k2ctl.endpoints import Endpoints, save_endpoints
from k2ctl.errors import DamagedFile, ExitCode, LakeError, OffsetsDiffer
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.lake.readers import stored_identities
from k2ctl.lake.references import store_references
from k2ctl.lake.scan import TableScan
from k2ctl.lake.stored_lookup import SuspectLookup
from k2ctl.lake.writer import TableWriter
from k2ctl.stack.preflight import Verdict
from tests.made_trades import make_rows, make_trades, produce_trades
from tests.support.cli import called
from tests.support.platforms import with_lake

TOPIC = trades_topic("equities", "ASX")
READING = [
    ["query", "recent", "S01", "--window", "all"],
    ["query", "sql", "SELECT count(*) AS n FROM trades"],
    ["query", "ohlcv", "S01", "--bar", "1m", "--window", "all"],
    ["query", "explain", "S01", "--window", "all"],
    ["gaps"],
    ["lake", "status"],
    ["lake", "compact", "--all"],
]
WRITING = [["consume", "--until-caught-up"], ["backfill"], ["lake", "expire"]]


@pytest.fixture
def endpoints(embedded_stack: Endpoints, home: Path) -> Iterator[Endpoints]:
    """A table of 100 trades in two commits, and 20 more in the stream of the profile, which others find empty again."""
    made = with_lake(embedded_stack, home)
    save_endpoints(made)
    trades = make_trades(120)
    with BrokerAdmin(made) as admin:
        admin.create_topic(TOPIC, 4)
    produce_trades(made, TOPIC, trades[100:])
    with Lake.at(made) as opened:
        writer = TableWriter(opened, SystemClock())
        for start in (0, 50):
            rows = make_rows(trades[start : start + 50], offset=start, topic="another")
            writer.commit([rows], {TopicPartition("another", "e", 0): OffsetDelta(start, start + 50, Counts(50, 50))})
    yield made
    with BrokerAdmin(made) as admin:
        for topic in {TOPIC, dead_letter_topic(TOPIC)} & set(admin.topics()):
            admin.delete_topic(topic)


def raw(endpoints: Endpoints) -> Table:
    return Lake.at(endpoints).catalog.load_table(TABLE)


def path_of(location: str) -> Path:
    return Path(location.removeprefix("file://"))


def with_deletes(endpoints: Endpoints, content: DataFileContent) -> None:
    """A snapshot in which somebody deleted rows, as Spark and Flink do it: in delete files."""
    table = raw(endpoints)
    metadata, snapshot = table.metadata, table.current_snapshot()
    assert snapshot is not None
    data = next(iter(table.scan().plan_files())).file
    path = f"{table.location()}/data/deletes-{random.random()}.parquet"
    if content == DataFileContent.POSITION_DELETES:
        ids = (("file_path", pa.string(), 2147483546), ("pos", pa.int64(), 2147483545))
        rows: list[list[object]] = [[data.file_path], [0]]
    else:
        ids, rows = (("kafka_offset", pa.int64(), 21),), [[3]]
    schema = pa.schema([pa.field(n, kind, metadata={"PARQUET:field_id": str(i)}) for n, kind, i in ids])
    pq.write_table(pa.table(rows, schema=schema), path_of(path))
    described = DataFile.from_args(
        content=content,
        file_path=path,
        file_format=FileFormat.PARQUET,
        partition=data.partition,
        record_count=1,
        file_size_in_bytes=path_of(path).stat().st_size,
        equality_ids=[21] if content == DataFileContent.EQUALITY_DELETES else None,
        spec_id=0,
    )

    class Deletes(ManifestWriterV2):
        def content(self) -> ManifestContent:
            return ManifestContent.DELETES

        @property
        def _meta(self) -> dict[str, str]:
            return {**super()._meta, "content": "deletes"}

    snapshot_id, number = random.getrandbits(62), metadata.next_sequence_number()
    manifest = f"{table.location()}/metadata/{snapshot_id}-m0.avro"
    with Deletes(table.spec(), table.schema(), table.io.new_output(manifest), snapshot_id, "deflate") as writer:
        writer.add(
            ManifestEntry.from_args(status=ManifestEntryStatus.ADDED, snapshot_id=snapshot_id, data_file=described)
        )
    listed = f"{table.location()}/metadata/snap-{snapshot_id}.avro"
    with write_manifest_list(
        2, table.io.new_output(listed), snapshot_id, snapshot.snapshot_id, number, "deflate"
    ) as out:
        out.add_manifests([*snapshot.manifests(table.io), writer.to_manifest_file()])
    summary = Summary(Operation.DELETE, **(snapshot.summary.additional_properties if snapshot.summary else {}))
    added = Snapshot(
        snapshot_id=snapshot_id,
        parent_snapshot_id=snapshot.snapshot_id,
        sequence_number=number,
        timestamp_ms=snapshot.timestamp_ms + 1,
        manifest_list=listed,
        summary=summary,
        schema_id=0,
    )
    with table.transaction() as transaction:
        transaction._apply(
            (
                AddSnapshotUpdate(snapshot=added),
                SetSnapshotRefUpdate(ref_name="main", type="branch", snapshot_id=snapshot_id),
            )
        )


def manifest(endpoints: Endpoints) -> Path:
    table = raw(endpoints)
    snapshot = table.current_snapshot()
    assert snapshot is not None
    return path_of(snapshot.manifests(table.io)[0].manifest_path)


def manifest_list(endpoints: Endpoints) -> Path:
    snapshot = raw(endpoints).current_snapshot()
    assert snapshot is not None
    return path_of(snapshot.manifest_list)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def renamed(endpoints: Endpoints) -> None:
    with raw(endpoints).update_schema() as schema:
        schema.rename_column("price", "px")


def of_another_version(endpoints: Endpoints) -> None:
    """A table of the layout that k2ctl 0.1 made."""
    catalog, table = Lake.at(endpoints).catalog, raw(endpoints)
    kept = [field for field in table.schema().fields if field.name not in NEW_COLUMNS]
    older = [
        NestedField(number, field.name, OLDER_TYPES.get(field.name, field.field_type), required=field.required)
        for number, field in enumerate(kept, 1)
    ]
    catalog.drop_table(TABLE)
    shutil.rmtree(path_of(table.location()))
    catalog.create_table(TABLE, Schema(*older))


NEW_COLUMNS = {"timestamp_nanos", "ingestion_timestamp_nanos", "action", "refers_to", "committed_at"}
OLDER_TYPES = {
    **dict.fromkeys(("price", "quantity", "tick_size", "lot_size"), DecimalType(18, 8)),
    "trade_conditions": StringType(),
}


DAMAGE: dict[str, tuple[Callable[[Endpoints], None], str]] = {
    "renamed column": (renamed, "The column price of market_data.trades was renamed to px"),
    "another version": (of_another_version, "was made by another version of k2ctl: it has no column timestamp_nanos"),
    "half a manifest": (lambda endpoints: cut(manifest(endpoints)), "is damaged"),
    "half a manifest list": (lambda endpoints: cut(manifest_list(endpoints)), "is damaged"),
    "half a metadata file": (lambda endpoints: cut(path_of(raw(endpoints).metadata_location)), "is damaged"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_every_command_says_in_one_sentence_what_is_wrong_and_what_to_do(
    endpoints: Endpoints, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    damage, message = DAMAGE[name]
    damage(endpoints)
    for command in [*READING, *WRITING]:
        code, out, err = called(capsys, *command)
        assert code != 0, command
        assert message in " ".join(err.split()), (command, err)
        assert out == ""
        assert "Traceback" not in err
    with pytest.raises(LakeError, match=message):
        lake_checks(endpoints)


@pytest.mark.parametrize("length", [0, 40, 900])
@pytest.mark.parametrize("find", [manifest, manifest_list])
def test_a_file_of_the_snapshot_that_was_cut_off_is_named_as_damaged(
    endpoints: Endpoints, find: Callable[[Endpoints], Path], length: int
) -> None:
    path = find(endpoints)
    path.write_bytes(path.read_bytes()[:length])
    with Lake.at(endpoints) as lake, pytest.raises(DamagedFile, match=rf"{path.name} is damaged"):
        TableScan.newest(lake.table(), "symbol = 'S01'").files()


@pytest.mark.parametrize("content", [DataFileContent.POSITION_DELETES, DataFileContent.EQUALITY_DELETES])
def test_rows_that_others_deleted_are_given_by_no_command_and_ingestion_goes_on(
    endpoints: Endpoints, capsys: pytest.CaptureFixture[str], content: DataFileContent
) -> None:
    with_deletes(endpoints, content)
    for command in READING:
        code, out, err = called(capsys, *command)
        assert code != 0, command
        assert "has delete files" in " ".join((out + err).split())
    for command in WRITING:
        assert called(capsys, *command)[0] == 0, command
    with Lake.at(endpoints) as lake:
        assert checkpoints_of(lake.table()).total().stored == 120


def test_a_trade_that_others_deleted_counts_as_stored(endpoints: Endpoints) -> None:
    with_deletes(endpoints, DataFileContent.POSITION_DELETES)
    rows = make_rows(make_trades(120)[:100], topic="another")
    with Lake.at(endpoints) as lake:
        lookup = SuspectLookup(lake, SystemClock())
        assert lookup.find(rows).itself.all()
        lookup.close()
        held = stored_identities(lake.table(), "another", "e", {0: (0, 100)})
        assert len(held[0]) == 100


def test_doctor_says_which_table_takes_no_rows_and_why(endpoints: Endpoints) -> None:
    with Lake.at(endpoints) as lake:
        assert store_references(lake, REFERENCE.empty(1), 1)
    for name, column in ((TABLE, "timestamp_hour"), (REFERENCE_TABLE, None)):
        with Lake.at(endpoints).catalog.load_table(name).update_spec() as spec:
            if column is not None:
                spec.remove_field(column)
            spec.add_field("symbol", IdentityTransform(), "by_symbol")
    wrong = [check for check in lake_checks(endpoints) if check.verdict == Verdict.WRONG]
    assert [check.name for check in wrong] == ["table market_data.trades", "table market_data.reference"]
    assert all("DROP PARTITION FIELD by_symbol" in check.help for check in wrong)


def test_a_file_that_is_not_parquet_is_refused_by_every_reader(
    endpoints: Endpoints, capsys: pytest.CaptureFixture[str]
) -> None:
    table = raw(endpoints)
    described = DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=f"{table.location()}/data/others.orc",
        file_format=FileFormat.ORC,
        partition=next(iter(table.scan().plan_files())).file.partition,
        record_count=1,
        file_size_in_bytes=1,
        spec_id=0,
    )
    with table.transaction() as transaction, transaction.update_snapshot().fast_append() as append:
        append.append_data_file(described)
    for command in READING:
        code, _, err = called(capsys, *command)
        assert code != 0, command
        assert "is ORC; k2ctl reads Parquet" in " ".join(err.split())


def test_offsets_that_were_changed_are_named_by_every_command_and_restored_by_one(
    endpoints: Endpoints, capsys: pytest.CaptureFixture[str]
) -> None:
    table = raw(endpoints)
    with table.transaction() as transaction:
        transaction.set_properties({PROPERTY: table.properties[PROPERTY].replace(",100,", ",50,")})
    message = "k2.offsets and k2.ledger are not what commit 2 wrote there"
    reading = [command for command in READING if command != ["lake", "status"]]
    for command in [*reading, *WRITING, ["verify", "--against-kafka"]]:
        code, out, err = called(capsys, *command)
        said = " ".join(err.split())
        assert code != 0, command
        assert message in said, (command, err)
        assert "k2ctl lake restore-offsets" in said, (command, err)
        assert out == ""
    code, out, _ = called(capsys, "lake", "status", "--json")
    assert message in json.loads(out)["offsets_differ"]
    assert json.loads(out)["balanced"] is False
    with pytest.raises(OffsetsDiffer, match=message):
        lake_checks(endpoints)
    assert called(capsys, "lake", "restore-offsets")[0] == ExitCode.USAGE
    code, _, err = called(capsys, "lake", "restore-offsets", "--yes")
    assert code == 0, err
    assert "another 0" in err
    assert called(capsys, "consume", "--until-caught-up")[0] == 0
    with Lake.at(endpoints) as lake:
        assert checkpoints_of(lake.table()).total().stored == 120
    assert called(capsys, "lake", "restore-offsets", "--yes")[0] == ExitCode.FAILED
