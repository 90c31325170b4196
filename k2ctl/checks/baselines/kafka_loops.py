"""Stripped loops: what the client library reaches when nothing else is done. Benchmarks are held against them."""

import time
from typing import Any

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from k2ctl.endpoints import Endpoints
from k2ctl.kafka.admin import Watermarks
from k2ctl.kafka.clients import consumer_config, producer_config


def bare_produce_s(endpoints: Endpoints, topic: str, values_by_partition: list[list[bytes]]) -> float:
    """Seconds to hand ready-made values to `produce_batch`, in the fresh dicts it wants, until all are acknowledged."""
    producer = Producer(producer_config(endpoints))
    producer.list_topics(topic, timeout=10)
    started_s = time.perf_counter()
    for partition, values in enumerate(values_by_partition):
        for at in range(0, len(values), 5000):
            messages: list[Any] = [{"value": value} for value in values[at : at + 5000]]
            while messages and producer.produce_batch(topic, messages, partition=partition) < len(messages):
                messages = [{"value": m["value"]} for m in messages if "_error" in m]
                producer.poll(0.05)
            producer.poll(0)
    producer.flush(60)
    return time.perf_counter() - started_s


def bare_consume_s(endpoints: Endpoints, topic: str, marks: dict[int, Watermarks], batch: int) -> tuple[float, int]:
    """Seconds to `consume()` a topic and join the values of each batch, and the bytes joined."""
    consumer = Consumer(consumer_config(endpoints, **{"group.id": "k2ctl-baseline"}))
    left = sum(mark.high - mark.low for mark in marks.values())
    started_s = time.perf_counter()
    consumer.assign([TopicPartition(topic, partition, mark.low) for partition, mark in marks.items()])
    size = 0
    while left > 0:
        messages = consumer.consume(min(batch, left), 1.0)
        size += len(b"".join(map(Message.value, messages)))  # type: ignore[arg-type]
        left -= len(messages)
    seconds = time.perf_counter() - started_s
    consumer.close()
    return seconds, size
