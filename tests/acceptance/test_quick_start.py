"""A command imports what it needs and nothing more: what people wait for when they have typed it is mostly imports."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from k2ctl.endpoints import load_endpoints
from k2ctl.home import Home
from k2ctl.kafka.producer import BatchProducer
from k2ctl.load.market import SyntheticMarket, new_run_id
from k2ctl.profiles import load_profile
from k2ctl.profiles.universe import Universe
from tests.support.cli import run, stack_is_down

ALWAYS_LATE = (
    "boto3", "botocore", "docker", "exchange_calendars", "fastapi", "fsspec", "pandas", "prompt_toolkit", "psycopg",
    "pyiceberg.catalog.rest", "pyiceberg.catalog.sql", "pyparsing", "redis", "requests", "sqlalchemy",
    "strictyaml.parser", "uvicorn",
)  # fmt: skip
"""What neither a query nor a consumer of a table in SQLite on a local disk needs before its first record."""

NOT_FOR_HELP = (
    *ALWAYS_LATE, "confluent_kafka", "duckdb", "numpy", "pyarrow", "pydantic", "pyiceberg", "rich", "yaml",
)  # fmt: skip

_CODE = """
import json, sys
from k2ctl.cli import main
code = main(sys.argv[1:])
print(json.dumps(sorted(sys.modules)))
sys.exit(code)
"""


def imported(*arguments: str, late: tuple[str, ...]) -> list[str]:
    """Which of some modules a command imports."""
    done = subprocess.run([sys.executable, "-c", _CODE, *arguments], capture_output=True, text=True, check=True)
    return sorted({*late} & {*json.loads(done.stdout.splitlines()[-1])})


@pytest.fixture
def stack() -> Iterator[None]:
    assert run("stack", "up").returncode == 0
    assert run("consume", "--until-caught-up").returncode == 0  # makes topics and table
    yield
    stack_is_down()


def test_the_help_imports_no_library_of_a_command() -> None:
    assert imported("--help", late=NOT_FOR_HELP) == []


def test_a_consumer_and_a_query_import_no_library_that_they_do_not_need(stack: None) -> None:
    assert imported("consume", "--until-caught-up", late=(*ALWAYS_LATE, "duckdb")) == []
    endpoints, profile, now_us = load_endpoints(Home.of_user()), load_profile("laptop"), time.time_ns() // 1000
    assert endpoints is not None
    batch = SyntheticMarket(Universe(profile), new_run_id()).take(100, now_us, now_us)
    BatchProducer(endpoints, profile.trades_topic, frame=1).send_all(batch.trades, batch.per_partition)
    symbol = batch.trades["symbol"][0].decode()
    assert imported("query", "recent", symbol, "--format", "csv", late=ALWAYS_LATE) == []
