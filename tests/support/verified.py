"""A load, a consumer, and what `verify` finds; and the table changed behind its back."""

import threading
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from k2ctl.checks.verify.verification import Verified, verify
from k2ctl.endpoints import Endpoints
from k2ctl.lake.catalog import Lake
from k2ctl.lake.files import write_file
from k2ctl.lake.live_files import live_files
from k2ctl.lake.pyiceberg_overrides.transaction import QuickTransaction
from k2ctl.load.generator import run_load
from k2ctl.load.market import Faults
from k2ctl.load.plan import plan_load
from k2ctl.profiles import Profile
from tests.support.platforms import catch_up

FAULTS = Faults(duplicates=0.02, gaps=0.02, out_of_order=0.02)


def loaded(endpoints: Endpoints, profile: Profile, *, workers: int = 1, frame: int = 1) -> int:
    plan = plan_load(profile, rate=4000, duration_s=1.0, faults=FAULTS, workers=workers, frame=frame)
    return run_load(plan, endpoints, threading.Event()).trades_acknowledged


def consumed(endpoints: Endpoints, profile: Profile) -> None:
    catch_up(endpoints, profile)


def only(endpoints: Endpoints) -> Verified:
    (result,) = verify(endpoints, lambda _: None)
    return result


def rewrite(endpoints: Endpoints, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change the rows of the table, as another program does that writes them again."""
    with Lake.at(endpoints) as lake:
        table = lake.table()
        old = [file.file for file in live_files(table)]
        rows = change(pa.concat_tables([pq.read_table(file.file_path.removeprefix("file://")) for file in old]))
        hours = pc.floor_temporal(rows["timestamp"], unit="hour")
        with QuickTransaction(table) as transaction, transaction.update_snapshot().overwrite() as overwrite:
            for file in old:
                overwrite.delete_data_file(file)
            for hour in hours.unique():
                overwrite.append_data_file(write_file(table, rows.filter(pc.equal(hours, hour))))
