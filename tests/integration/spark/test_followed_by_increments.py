"""A program on Spark that follows the table by increments gets each trade once, whatever is compacted meanwhile."""

import json
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from k2ctl.clock import SystemClock
from k2ctl.endpoints import Endpoints
from k2ctl.lake.catalog import Lake
from k2ctl.lake.live_files import live_files
from k2ctl.lake.maintenance.maintainer import compact_now, whole_hours
from k2ctl.spark.settings import SparkPlace, start_of
from tests.support.leases import of_this_machine
from tests.support.spark import require_spark
from tests.support.spark_tables import STEP, append_now, fill, writer_of

pytestmark = pytest.mark.slow

PROGRAM: Final = """
import json, sys
from pyspark.sql import SparkSession
start, folder = json.load(sys.stdin)
builder = SparkSession.builder.master("local[1]")
extensions = "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions"
for name, value in {**start["options"], **start["catalog"], "spark.sql.extensions": extensions}.items():
    builder = builder.config(name, value)
session = builder.getOrCreate()
stream = session.readStream.format("iceberg").load(start["table"]).writeStream.trigger(availableNow=True)
stream = stream.option("checkpointLocation", folder + "/offsets")
stream.start(path=folder + "/out", format="parquet").awaitTermination()
rows = session.read.parquet(folder + "/out")
catalog, _, name = start["table"].partition(".")
view = session.sql(f"CALL {catalog}.system.create_changelog_view(table => '{name.replace('`', '')}')").first()[0]
kinds = dict(map(tuple, session.sql(f"SELECT _change_type, count(*) FROM {view} GROUP BY 1").collect()))
print(json.dumps([rows.count(), rows.select("trade_id").distinct().count(), kinds]))
"""


def followed(at: Endpoints, lake: Lake, folder: Path) -> list[Any]:
    """Stream the table on Spark from where the last call ended; rows so far, distinct ids, changes by kind."""
    given = [start_of(at, SparkPlace("local[1]"), lake.table().location()), str(folder)]
    done = subprocess.run(
        [require_spark(), "-c", PROGRAM], input=json.dumps(given), capture_output=True, text=True, timeout=110,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[Any] = json.loads(done.stdout)
    return found


def test_a_stream_passes_over_a_compaction_and_reads_on(on_disk: Endpoints, tmp_path: Path) -> None:
    with Lake.at(on_disk) as lake:
        fill(lake, 6)
        assert followed(on_disk, lake, tmp_path) == [6 * STEP, 6 * STEP, {"INSERT": 6 * STEP}]
        compact_now(lake, SystemClock(), whole_hours, of_this_machine)
        assert len(live_files(lake.table())) == 2
        append_now(writer_of(lake), 6)
        assert followed(on_disk, lake, tmp_path) == [7 * STEP, 7 * STEP, {"INSERT": 7 * STEP}]
