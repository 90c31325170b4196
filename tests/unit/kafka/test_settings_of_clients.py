"""What the clients ask of Kafka, by engine."""

import pytest

from k2ctl.endpoints import Endpoints
from k2ctl.kafka.clients import consumer_config, producer_config, session_timeout_s
from k2ctl.kafka.reader import prefetch


def of(engine: str) -> Endpoints:
    return Endpoints(engine, "127.0.0.1:1", "sqlite:///:memory:", "file:///nowhere")


@pytest.mark.parametrize("engine", ["local", "docker", "external"])
def test_a_producer_waits_for_every_replica_and_its_repeated_requests_store_nothing_twice(engine: str) -> None:
    config = producer_config(of(engine))
    assert (config["acks"], config["enable.idempotence"]) == ("all", True)


def test_the_embedded_kafka_does_not_tell_repeated_requests_apart_so_idempotence_is_not_asked_of_it() -> None:
    config = producer_config(of("embedded"))
    assert (config["acks"], config["enable.idempotence"]) == ("all", False)


@pytest.mark.parametrize("engine", ["embedded", "local", "external"])
def test_a_member_learns_of_a_rebalance_within_half_a_second_and_has_several_heartbeats_a_session(engine: str) -> None:
    interval_ms = consumer_config(of(engine))["heartbeat.interval.ms"]
    assert interval_ms <= 500
    assert session_timeout_s(of(engine)) * 1000 >= 3 * interval_ms


def test_a_reader_of_many_partitions_holds_no_more_ahead_than_one_of_a_few() -> None:
    few, many = prefetch(2), prefetch(16)
    assert {name: 8 * value for name, value in many.items()} == few
    assert min(prefetch(100_000).values()) > 0
