"""DuckDB prints nothing of its own: stdout is for data."""

from pathlib import Path

import pytest

from k2ctl.feeds.mapping.bound import connect
from k2ctl.lake.catalog import Lake
from k2ctl.lake.duckdb_files import another, open_duckdb
from k2ctl.profiles.feed import Source

SLOW = "SELECT count(*) FROM range(20000) a(i), range(20000) b(j) WHERE (i * j) % 7 = 3"


def test_a_query_of_more_than_two_seconds_draws_no_progress(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with Lake(f"sqlite:///{tmp_path}/catalog.db", f"file://{tmp_path}/w") as lake:
        first = open_duckdb(lake, {"threads": 1})
    feed = connect(Source.model_validate({"format": "json", "columns": ["a"]}))
    for connection in (first, another(first), feed):
        (setting,) = connection.sql("SELECT current_setting('enable_progress_bar')").fetchall()
        assert setting == (False,)
    first.sql(SLOW).fetchall()
    assert capfd.readouterr().out == ""
