"""Does Kafka work: one record produced and read back."""

import uuid
from typing import Final

from confluent_kafka import KafkaException, Producer

from k2ctl.broker.admin import BrokerAdmin
from k2ctl.broker.clients import producer_config
from k2ctl.broker.reader import read_between
from k2ctl.errors import BrokerError
from k2ctl.home import Endpoints

PROBE_TOPIC: Final = "k2.probe"


def round_trip(endpoints: Endpoints, timeout_s: float) -> None:
    """Produce a record to `k2.probe` and read it back.

    Raises:
        BrokerError: it did not come back in time.
    """
    with BrokerAdmin(endpoints) as admin:
        admin.topics()
        admin.create_topic(PROBE_TOPIC, 1, {"retention.ms": "60000"})
        before = admin.watermarks(PROBE_TOPIC)[0].high
        word = uuid.uuid4().bytes
        producer = Producer(producer_config(endpoints, **{"linger.ms": 0}))
        try:
            producer.produce(PROBE_TOPIC, word, partition=0)
            left = producer.flush(timeout_s)
        except KafkaException as error:
            raise BrokerError(f"Kafka took no record: {error}", "See: k2ctl stack logs kafka") from error
        if left:
            raise BrokerError("Kafka acknowledged no record in time.", "See: k2ctl stack logs kafka")
        after = admin.watermarks(PROBE_TOPIC)[0].high
    fetched, _, _ = read_between(endpoints, PROBE_TOPIC, {0: (before, after)}, timeout_s, limit_records=1000)
    if word not in fetched.values:
        raise BrokerError("Kafka did not give a record back in time.", "See: k2ctl stack logs kafka")
