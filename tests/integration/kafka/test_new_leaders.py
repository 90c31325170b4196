"""A client that has been connected for long, and a broker that was restarted since: its partitions have new leaders."""

import os
from collections.abc import Iterator

import pytest

from k2ctl.endpoints import Endpoints
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.producer import publish
from tests.support.kafka_cluster import KafkaCluster
from tests.support.place import Place
from tests.support.polling import until
from tests.support.postgres_server import Missing

pytestmark = [pytest.mark.slow, pytest.mark.kafka]


@pytest.fixture
def own_kafka() -> Iterator[KafkaCluster]:
    """One broker on a loopback address that nobody else uses."""
    try:
        cluster = KafkaCluster({1: Place(f"127.{os.getpid() % 200 + 20}.7.7")})
    except Missing as error:
        pytest.skip(str(error))
    yield cluster
    cluster.close()


def test_offsets_are_known_again_at_once_after_a_restart(own_kafka: KafkaCluster) -> None:
    endpoints = Endpoints("external", own_kafka.servers, "sqlite://", "file:///nowhere")
    with BrokerAdmin(endpoints) as admin:
        assert admin.create_topic("trades", 1)
        assert own_kafka.copies() == {"trades": {1}}, "one broker has room for no more"
        publish(endpoints, "trades", [("a", b"1")])
        assert admin.high_watermarks("trades", [0]) == {0: 1}
        own_kafka.stop(1)
        own_kafka.start(1)
        own_kafka.until_whole()
        publish(endpoints, "trades", [("a", b"2")])
        until(lambda: admin.high_watermarks("trades", [0]) == {0: 2}, 5)
