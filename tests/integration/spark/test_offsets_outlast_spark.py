"""The second copy of the offsets, and what programs do on Spark: SQL on properties and tags, expiry, rewriting."""

import json
import subprocess
from typing import Any, Final

import pytest

from k2ctl.clock import SystemClock
from k2ctl.endpoints import Endpoints
from k2ctl.errors import OffsetsDiffer
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.lake.restoring import look, restore
from k2ctl.spark.settings import SparkPlace, start_of
from tests.support.spark import require_spark
from tests.support.spark_tables import STEP, append_now, fill, writer_of

pytestmark = pytest.mark.slow

PROGRAM: Final = """
import json, sys
from pyspark.sql import SparkSession
start, statements = json.loads(sys.stdin.read())
builder = SparkSession.builder.master("local[1]")
extensions = "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions"
for name, value in {**start["options"], **start["catalog"], "spark.sql.extensions": extensions}.items():
    builder = builder.config(name, value)
session = builder.getOrCreate()
for statement in statements:
    session.sql(statement).collect()
"""


def on_spark(at: Endpoints, lake: Lake, *statements: str) -> None:
    """Run statements as a program that knows nothing of k2ctl. {table}, {catalog}: of the table."""
    start = start_of(at, SparkPlace("local[1]"), lake.table().location())
    catalog, _, name = start["table"].partition(".")
    texts = [text.format(table=start["table"], catalog=catalog, name=name.replace("`", "")) for text in statements]
    given: list[Any] = [start, texts]
    done = subprocess.run(
        [require_spark(), "-c", PROGRAM], input=json.dumps(given), capture_output=True, text=True, timeout=280,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("kind", ["on_postgres", "on_rest"])
def test_the_copy_outlasts_expiry_rewriting_and_an_edit_of_properties(
    request: pytest.FixtureRequest, kind: str
) -> None:
    at: Endpoints = request.getfixturevalue(kind)
    with Lake.at(at) as lake:
        fill(lake, 1)
        older = checkpoints_of(lake.table()).dumps().replace("{", "{{").replace("}", "}}")
        append_now(writer_of(lake), 1)
        before = checkpoints_of(lake.table())
        on_spark(
            at,
            lake,
            "CALL {catalog}.system.rewrite_data_files(table => '{name}', options => map('rewrite-all', 'true'))",
            "CALL {catalog}.system.expire_snapshots(table => '{name}', older_than => TIMESTAMP '2100-01-01 00:00:00', "
            "retain_last => 1)",
            f"ALTER TABLE {{table}} SET TBLPROPERTIES ('k2.offsets' = '{older}')",
        )
        assert len(lake.table().metadata.snapshots) == 2, "the newest, and the one that is tagged"
        with pytest.raises(OffsetsDiffer):
            checkpoints_of(lake.table())
        restore(lake, SystemClock(), look(lake))
        assert checkpoints_of(lake.table()) == before
        append_now(writer_of(lake), 2)
        assert checkpoints_of(lake.table()).total().stored == 3 * STEP
