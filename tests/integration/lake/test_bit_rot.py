"""One flipped bit in any file of the table is an error that names the file, or changes nothing that is read."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from k2ctl.checks.doctor.stack import lake_checks
from k2ctl.checks.verify.verification import verify
from k2ctl.clock import SystemClock
from k2ctl.domain.rows import arrow_schema
from k2ctl.endpoints import Endpoints
from k2ctl.errors import DamagedFile, LakeError
from k2ctl.lake.catalog import Lake
from k2ctl.lake.data_files import RESTORE
from k2ctl.lake.live_files import live_files
from k2ctl.lake.maintenance.compaction import Compactor
from k2ctl.lake.readers import recent_rows, sequenced_rows, stored_identities, stored_trades
from k2ctl.lake.snapshots import Pinned, pin
from k2ctl.lake.stored_lookup import SuspectLookup
from k2ctl.load.generator import run_load
from k2ctl.load.plan import plan_load
from k2ctl.query.session import Session
from k2ctl.query.sql import sql
from k2ctl.query.stream import KafkaStream
from k2ctl.stack.preflight import Verdict
from tests.made_trades import BASE_US, make_rows, quick_profile
from tests.support.leases import of_this_machine
from tests.support.platforms import catch_up, market_of_its_own, with_lake

CLOCK = SystemClock()
FLIPS = {"data": 24, "manifest": 6, "manifest list": 6, "metadata": 6}
IN_ORDER = "SELECT * FROM trades ORDER BY kafka_partition, kafka_offset, kafka_index"


@pytest.fixture
def platform(embedded_stack: Endpoints, home: Path, exchange: str) -> Endpoints:
    """A table of some thousand trades in several files, all that was sent to a topic."""
    profile, _ = market_of_its_own(quick_profile(), exchange)
    endpoints = with_lake(embedded_stack, home)
    for _ in range(2):
        run_load(plan_load(profile, rate=2000, duration_s=0.5), endpoints, threading.Event())
        catch_up(endpoints, profile)
    return endpoints


def readers(endpoints: Endpoints) -> dict[str, Callable[[], Any]]:
    """Every way in which trades are read from the table, each as a value that can be compared."""

    with Lake.at(endpoints) as lake:
        found = pin(lake)
        assert found is not None
        topic = next(iter(found.checkpoints.by_partition)).topic

    def session_of_topic() -> Session:
        return Session(Lake.at(endpoints), KafkaStream(endpoints, topic))

    def recent() -> Any:
        with session_of_topic() as session:
            answer = session.recent(None)
        return answer.table.to_pylist(), answer.evidence.complete

    def by_sql() -> Any:
        with session_of_topic() as session, sql(session, IN_ORDER) as answer:
            return answer.rows.read_all().to_pylist(), answer.evidence.complete

    def verified() -> Any:
        results = verify(endpoints, lambda _: None)
        listed = [damage for result in results for damage in result.damaged.items()]
        if listed:
            raise DamagedFile(str(listed), RESTORE)
        return [(result.holds, result.in_lake) for result in results]

    def of_table(read: Callable[[Pinned, str, str], Any]) -> Callable[[], Any]:
        def reading() -> Any:
            with Lake.at(endpoints) as lake:
                pinned = pin(lake)
                assert pinned is not None
                ours = next(iter(pinned.checkpoints.by_partition))
                return read(pinned, ours.topic, ours.epoch)

        return reading

    def together(tables: Iterator[pa.Table]) -> list[Any]:
        return [row for table in tables for row in table.to_pylist()]

    def suspects() -> Any:
        with Lake.at(endpoints) as lake:
            lookup = SuspectLookup(lake, CLOCK)
            found = lookup.find(some)
            lookup.close()
        return found.elsewhere.tolist(), found.itself.tolist()

    with Lake.at(endpoints) as lake:
        pinned = pin(lake)
        assert pinned is not None
        topic = next(iter(pinned.checkpoints.by_partition)).topic
        some = make_rows(np.concatenate([placed.trades for placed in stored_trades(pinned, topic, None)])[:200])
    partitions = range(64)

    def rebuilding(pinned: Pinned, topic: str, _: str) -> Any:
        return together(recent_rows(pinned.table, BASE_US, topic, partitions))

    def backfill(pinned: Pinned, topic: str, epoch: str) -> Any:
        found = stored_identities(pinned.table, topic, epoch, dict.fromkeys(partitions, (0, 10**6)))
        return [numbers.tolist() for numbers in found.values()]

    return {
        "query recent": recent,
        "query sql": by_sql,
        "verify": verified,
        "suspects": suspects,
        "gaps": of_table(lambda pinned, *_: together(sequenced_rows(pinned))),
        "rebuilding": of_table(rebuilding),
        "backfill": of_table(backfill),
    }


def files_of(endpoints: Endpoints) -> dict[str, list[Path]]:
    """The files that the table's newest snapshot is made of, by their kind."""
    with Lake.at(endpoints) as lake:
        table = lake.table()
        snapshot = table.metadata.current_snapshot()
        assert snapshot is not None
        found = {
            "data": [file.path for file in live_files(table)],
            "manifest": [manifest.manifest_path for manifest in snapshot.manifests(table.io)],
            "manifest list": [snapshot.manifest_list],
            "metadata": [table.metadata_location],
        }
    return {kind: [Path(path.removeprefix("file://")) for path in paths] for kind, paths in found.items()}


@contextmanager
def flipped(path: Path, rng: random.Random, at: int | None = None) -> Iterator[int]:
    """One bit of a file is another for the length of the block."""
    whole = path.read_bytes()
    place = rng.randrange(len(whole)) if at is None else at
    content = bytearray(whole)
    content[place] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    try:
        yield place
    finally:
        path.write_bytes(whole)


def test_a_flipped_bit_is_an_error_or_changes_no_answer(platform: Endpoints) -> None:
    ways = readers(platform)
    before = {name: read() for name, read in ways.items()}
    assert before["verify"] == [(True, len(before["query recent"][0]))]
    rng = random.Random(13)
    for kind, paths in files_of(platform).items():
        refused = list[str]()
        for number in range(FLIPS[kind]):
            path = rng.choice(paths)
            with flipped(path, rng) as place:
                for name in ways if number % 8 == 0 else rng.sample(list(ways), 2):
                    said = error_of(lambda name=name: ways[name]() == before[name])
                    assert said is True or path.name in said, f"{name}, byte {place} of {path.name}: {said}"
                    refused += [said] if said is not True else []
        assert len(refused) > FLIPS[kind], f"nearly every bit of a {kind} counts"
    assert {name: read() for name, read in ways.items()} == before


def error_of(check: Callable[[], bool]) -> Any:
    """What a check gives, or what it says when a file is damaged."""
    try:
        return check()
    except LakeError as error:
        return str(error)


def test_every_part_of_a_data_file_is_covered(platform: Endpoints) -> None:
    ways, rng = readers(platform), random.Random(1)
    path = files_of(platform)["data"][0]
    size = path.stat().st_size
    for at in (10, size // 2, size - 300, size - 30, size - 6):  # pages, the footer, the seal, what ends a Parquet file
        for name, read in ways.items():
            with flipped(path, rng, at), pytest.raises(DamagedFile, match=path.name) as found:
                pytest.fail(f"{name} gives {read()} with byte {at} altered")
            assert "Restore this file" in found.value.hint


def test_verify_looks_at_every_stored_column(platform: Endpoints) -> None:
    verified, rng = readers(platform)["verify"], random.Random(2)
    path = files_of(platform)["data"][0]
    group = pq.read_metadata(path).row_group(0)
    chunks = [group.column(number) for number in range(group.num_columns)]
    assert [chunk.path_in_schema.partition(".")[0] for chunk in chunks] == arrow_schema().names
    for chunk in chunks:
        end = (chunk.dictionary_page_offset or chunk.data_page_offset) + chunk.total_compressed_size
        with flipped(path, rng, end - 1), pytest.raises(DamagedFile, match=path.name):
            pytest.fail(f"{chunk.path_in_schema} was altered: {verified()}")


def test_a_data_file_in_place_of_another_is_found(platform: Endpoints) -> None:
    ways = readers(platform)
    first, second, *_ = files_of(platform)["data"]
    first.write_bytes(second.read_bytes())
    for name, read in ways.items():
        with pytest.raises(DamagedFile, match=first.name):
            pytest.fail(f"{name} gives {read()}")


def test_a_data_file_that_is_gone_is_named_by_every_query(platform: Endpoints) -> None:
    ways = {name: read for name, read in readers(platform).items() if name in ("query recent", "query sql")}
    assert len(ways) == 2
    gone = files_of(platform)["data"][0]
    gone.unlink()
    for name, read in ways.items():
        with pytest.raises(LakeError, match=f"{gone.name} is gone") as error:
            pytest.fail(f"{name} gives {read()}")
        assert "backup" in error.value.hint


def test_doctor_names_a_data_file_that_is_gone_or_of_another_size(platform: Endpoints) -> None:
    gone, resized = files_of(platform)["data"][:2]
    assert {check.verdict for check in lake_checks(platform) if check.name == "data files"} == {Verdict.OK}
    resized.write_bytes(resized.read_bytes()[:-1])
    (found,) = (check for check in lake_checks(platform) if check.name == "data files")
    assert found.verdict is Verdict.WRONG
    assert resized.name in found.found
    assert "were written" in found.found
    gone.unlink()
    (found,) = (check for check in lake_checks(platform) if check.name == "data files")
    assert "1 more" in found.found
    assert "backup" in found.help


def test_a_merge_does_not_make_damage_permanent(platform: Endpoints) -> None:
    before = readers(platform)["query sql"]()
    rng = random.Random(5)
    with Lake.at(platform) as lake:
        compactor = Compactor(lake, CLOCK, of_this_machine("t"))
        hour = live_files(lake.table())[0].hour
        files = [file for file in live_files(lake.table()) if file.hour == hour]
        snapshot = lake.table().metadata.current_snapshot_id
        for _ in range(12):
            path = Path(rng.choice(files).path.removeprefix("file://"))
            with (
                flipped(path, rng, rng.randrange(path.stat().st_size - 40)),
                pytest.raises(DamagedFile, match=path.name),
            ):
                compactor.compact(files)
        assert lake.table().metadata.current_snapshot_id == snapshot
        assert compactor.compact(files) is not None
    assert readers(platform)["query sql"]() == before
