"""What the local engine lets others of the same machine reach."""

from ipaddress import ip_address
from pathlib import Path

import psutil
import pytest
from redis import Redis

from k2ctl.endpoints import Endpoints
from k2ctl.sequence.store_view import open_store

pytestmark = pytest.mark.kafka


def listening(endpoints: Endpoints, service: str) -> list[str]:
    found = psutil.Process(endpoints.processes[service].pid).net_connections("inet")
    return [one.laddr.ip for one in found if one.status == psutil.CONN_LISTEN]


def test_redis_has_no_port_and_works(local_stack: Endpoints) -> None:
    assert listening(local_stack, "redis") == []
    assert local_stack.state_url.startswith("unix:///")
    store = open_store(local_stack.state_url, "p", "t")
    assert store.statistics().server["aof_enabled"] == 1
    store.close()
    with Redis.from_url(local_stack.state_url) as client, pytest.raises(Exception, match="unknown command"):
        client.config_get("dir")


def test_kafka_listens_on_loopback_with_a_port_for_clients_and_one_for_itself(local_stack: Endpoints) -> None:
    found = listening(local_stack, "kafka")
    assert len(found) == 2
    assert all(ip_address(address.removeprefix("::ffff:")).is_loopback for address in found)


def test_libraries_that_kafka_unpacks_are_in_a_folder_of_its_own(local_stack: Endpoints) -> None:
    words = psutil.Process(local_stack.processes["kafka"].pid).cmdline()
    folder = Path(next(word.partition("=")[2] for word in words if word.startswith("-Djava.io.tmpdir=")))
    assert folder.stat().st_mode & 0o777 == 0o700
