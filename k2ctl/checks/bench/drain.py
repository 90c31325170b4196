"""A backlog into committed rows, against consuming alone and writing alone: what the steps and commits cost."""

import threading
import time

from k2ctl.checks.baselines.loops import bare_consume_s, sorted_write_s
from k2ctl.checks.bench.figures import BASELINE, Figure, against, measured
from k2ctl.checks.bench.kafka_tools import KafkaTools, beside
from k2ctl.checks.bench.made import made_trades, rows_as_read
from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.demo.pacing import unhurried
from k2ctl.domain.topics import trades_topic
from k2ctl.endpoints import Endpoints
from k2ctl.errors import CheckFailed
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.producer import BatchProducer
from k2ctl.profiles import Profile

GOAL = 0.7


def drain_once(kafka: Endpoints, lake: Endpoints, profile: Profile, frame: int, count: int) -> list[float]:
    """Trades a second: k2ctl's, bare consuming, bare writing, and Kafka's own tool (its records × the frame), if there.

    lake: the same Kafka with an empty table. The profile's topic is made for this, and deleted.

    Raises:
        CheckFailed: not every trade was stored, so that the rate means nothing.
    """
    # On a ladder within reach a backlog defers trades after two seconds, and what is measured is not a drain.
    profile = unhurried(profile)
    topic = trades_topic(profile.market.asset_class, profile.market.exchange)
    trades, per_partition = made_trades(profile, count)
    with BrokerAdmin(kafka) as admin:
        admin.create_topic(topic, len(per_partition))
        BatchProducer(kafka, topic, frame).send_all(trades, per_partition)
        marks = admin.watermarks(topic)
    rows = rows_as_read(trades, per_partition, topic, frame)
    del trades
    consuming_s, _ = bare_consume_s(kafka, topic, marks, profile.consumer.fetch_batch)
    writing_s = sorted_write_s(rows, profile.consumer.commit_rows, kafka.home.path / "baseline")
    del rows
    rates = [count / _consume_s(lake, profile, count), count / consuming_s, count / writing_s]
    tools = KafkaTools.at(kafka)
    if tools is not None:
        records = sum(mark.high - mark.low for mark in marks.values())
        rates.append(tools.consume(topic, records) * count / records)
    with BrokerAdmin(kafka) as admin:
        admin.delete_topic(topic)
    return rates


def _consume_s(lake: Endpoints, profile: Profile, count: int) -> float:
    consumer = Consumer(lake, ConsumerPlan(profile, until_caught_up=True))
    started_s = time.perf_counter()
    stored = consumer.run(threading.Event()).stored
    if stored != count:
        raise CheckFailed(f"The consumer stored {stored:,} of {count:,} trades.", "Try again: k2ctl bench consume")
    return time.perf_counter() - started_s


def drain_figures(columns: list[list[float]], frame: int) -> list[Figure]:
    """Figures from the rates of `drain_once`, by column."""
    ours, consuming, writing, *by_tool = columns
    case = f"frame {frame}"
    baselines = [1 / (1 / read + 1 / write) for read, write in zip(consuming, writing, strict=True)]
    figure = against("consume", case, "to committed rows", ours, "trades/s", baselines, GOAL)
    return [
        figure,
        *(beside(figure, "kafka-consumer-perf-test", rates, None) for rates in by_tool),
        measured("consume", case, f"{BASELINE}bare consume and join", consuming, "trades/s"),
        measured("consume", case, f"{BASELINE}sorted Parquet write", writing, "trades/s"),
    ]
