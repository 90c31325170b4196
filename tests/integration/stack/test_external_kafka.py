"""A Kafka that asks who one is and what one may: every client says it, and a refusal is reported with its reason."""

from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from k2ctl.checks.baselines.naive_consumer import subscribed
from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError, NotAllowed
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.probe import PROBE_TOPIC, round_trip
from k2ctl.stack.readiness import health
from tests.support.kafka_server import ADMIN, KafkaServer

pytestmark = pytest.mark.kafka


def allow(kafka: KafkaServer, user: str, topic: str) -> None:
    """Let a user read and write a topic, and not make it."""
    made = kafka.endpoints(ADMIN)
    settings: dict[str, Any] = {"bootstrap.servers": made.bootstrap_servers, **made.kafka}
    bindings = [
        AclBinding(
            ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, f"User:{user}", "*", may, AclPermissionType.ALLOW
        )
        for may in (AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE)
    ]
    client = AdminClient(settings)
    for done in client.create_acls(bindings).values():
        done.result(10)


def refusal(endpoints: Endpoints) -> str:
    with pytest.raises(BrokerError) as caught:
        round_trip(endpoints, 5.0)
    return str(caught.value)


def test_producer_reader_and_the_naive_consumer_say_who_they_are(guarded_kafka: KafkaServer) -> None:
    endpoints = guarded_kafka.endpoints("k2")
    round_trip(endpoints, 5.0)
    with closing(subscribed(endpoints, PROBE_TOPIC, "somebody")) as consumer:
        polled = (consumer.poll(0.5) for _ in range(40))
        assert any(message is not None and message.error() is None for message in polled)


def test_a_wrong_password_or_protocol_or_property_is_reported(guarded_kafka: KafkaServer) -> None:
    right = guarded_kafka.endpoints("k2")
    assert "Invalid username or password" in refusal(replace(right, kafka={**right.kafka, "sasl.password": "wrong"}))
    assert "may want another security.protocol" in refusal(replace(right, kafka={}))
    java = refusal(replace(right, kafka={**right.kafka, "sasl.jaas.config": "hush"}))
    assert "Java JAAS configuration is not supported" in java
    assert "hush" not in java


def test_a_user_who_may_make_no_topic_takes_what_others_have_made(guarded_kafka: KafkaServer) -> None:
    guest = guarded_kafka.endpoints("guest")
    with pytest.raises(NotAllowed):
        round_trip(guest, 5.0)
    assert health(guest, "kafka") == "healthy"
    with BrokerAdmin(guarded_kafka.endpoints(ADMIN)) as admin:
        admin.create_topic("made.by.others", 3)
    allow(guarded_kafka, "guest", "made.by.others")
    with BrokerAdmin(guest) as admin:
        assert admin.create_topic("made.by.others", 3) is False
        with pytest.raises(NotAllowed):
            admin.create_topic("made.by.nobody", 1)
