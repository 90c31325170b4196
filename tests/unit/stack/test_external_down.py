"""What ends with the external engine: the addresses, and what is this machine's own. No service is asked."""

from dataclasses import replace
from pathlib import Path

import pytest

from k2ctl.endpoints import Endpoints, load_endpoints, save_endpoints
from k2ctl.errors import UsageError
from k2ctl.home import Home
from k2ctl.load.acknowledged_log import acknowledged_log_dir
from k2ctl.stack import lifecycle

THEIRS = Endpoints("external", "kafka:9092", "postgresql+psycopg://k2:hush@db/k2", "s3://lake", "redis://:hush@redis/0")


def test_volumes_deletes_the_records_of_loads_and_no_lake(home: Path) -> None:
    save_endpoints(replace(THEIRS, home=Home(home)))
    lake = home / "lake" / "catalog.db"
    lake.parent.mkdir()
    lake.write_text("of an embedded stack, or theirs")
    (acknowledged_log_dir(Home.of_user()) / "run").write_text("")
    assert lifecycle.down(volumes=True, home=Home.of_user()) == "external"
    assert load_endpoints(Home.of_user()) is None
    assert list(acknowledged_log_dir(Home.of_user()).iterdir()) == []
    assert lake.exists()


@pytest.mark.parametrize("service", ["kafka", "redis", "catalog", "warehouse"])
def test_the_log_of_a_service_is_where_it_runs(service: str, home: Path) -> None:
    save_endpoints(replace(THEIRS, home=Home(home)))
    with pytest.raises(UsageError, match="is with those who run it, at") as caught:
        lifecycle.log_lines(service, follow=False, home=Home.of_user())
    assert "hush" not in str(caught.value)


def test_only_one_engine_is_up(home: Path) -> None:
    save_endpoints(replace(THEIRS, home=Home(home)))
    with pytest.raises(Exception, match="The external engine runs already"):
        lifecycle.up("embedded", "laptop", lambda _: None, home=Home.of_user())
