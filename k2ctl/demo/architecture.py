"""Act 2, the architecture: one real trade, followed through Kafka, the pipeline, the commit and the seam."""

import statistics
import threading
import time
from typing import Any, Final

from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.demo.checks import complete_answer, offset_is_past, same_trade, stayed_complete
from k2ctl.demo.pacing import unhurried
from k2ctl.demo.result import Bars, Billing, Facts, Grid
from k2ctl.demo.stage import SYMBOL, Stage
from k2ctl.domain.checkpoint import TopicPartition
from k2ctl.domain.trade import TRADE, Window
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.reader import read_between
from k2ctl.lake.catalog import Lake
from k2ctl.lake.snapshots import pin
from k2ctl.query.answer import Answer
from k2ctl.query.session import Session

BILLING: Final = Billing(
    2,
    "The architecture",
    f"One real trade of {SYMBOL}, followed from Kafka to the table. It can be queried before it is stored, "
    "and after: the same row.",
    (
        "Everything on the screen is read from the running platform; nothing is drawn.",
        f"On the wire a trade is one SBE message of {TRADE.message.itemsize} bytes. A batch of any size decodes with a "
        "single numpy call.",
        "Rows and Kafka offsets go into the table in ONE Iceberg transaction. So a consumer that dies stores nothing "
        "twice and loses nothing: the table itself says where to go on.",
        "The seam: a query pins a snapshot and its offsets, and reads Kafka from exactly there on. No guess at times.",
        "K2 is L3: answers for analysts in less than half a second; not for execution.",
    ),
)

ROWS_BEFORE: Final = 20_000
FLOW_RATE: Final = 5_000
Row = dict[str, Any]


def play(stage: Stage) -> None:
    """No consumer runs at first, so that the trade is in Kafka alone; then one batch goes through."""
    stage.step(f"{ROWS_BEFORE:,} trades into Kafka; no consumer runs yet")
    window = stage.start_load(stage.plan(ROWS_BEFORE, 1.0))
    stage.finish_load()
    before = stage.readings.query(SYMBOL, window, 1)
    trade = before.table.to_pylist()[0]
    _in_kafka(stage, trade)
    stage.step("A consumer takes all of them through the pipeline, as one batch")
    _through_the_pipeline(stage)
    _committed(stage, trade)
    stage.step("The same question, before and after the commit")
    after = stage.readings.query(SYMBOL, window, 1)
    stage.show(seam_grid(trade, before, after), 14)
    stage.moment("act-2")
    stage.check(same_trade(trade, after.table.to_pylist()[0], before.evidence, after.evidence))
    _while_it_flows(stage)


def _in_kafka(stage: Stage, trade: Row) -> None:
    stage.step(f"The newest trade of {SYMBOL}, as Kafka holds it")
    value = record_of(stage.endpoints, trade)
    stage.show(
        Facts(
            f"{trade['kafka_topic']}, partition {trade['kafka_partition']}, offset {trade['kafka_offset']}",
            hex_lines(value),
            f"{len(value)} bytes of SBE: a header of 8, then the trade. No text to parse.",
        ),
        12,
    )
    stage.show(
        Facts(
            "the same bytes, decoded",
            (
                ("message_id", f"{trade['message_id']}  (feed session, then sequence number)"),
                ("symbol, exchange", f"{trade['symbol']}, {trade['exchange']}"),
                ("price × quantity", f"{trade['price'].normalize():f} {trade['currency']} × {trade['quantity']:.0f}"),
                ("side", str(trade["side"])),
                ("traded at", f"{trade['timestamp']:%H:%M:%S.%f} UTC"),
                ("source_sequence", f"{trade['source_sequence']:,} of this feed session"),
            ),
        ),
        12,
    )


def record_of(endpoints: Endpoints, trade: Row) -> bytes:
    """The Kafka record that a row came in."""
    partition, offset = trade["kafka_partition"], trade["kafka_offset"]
    fetched, _, _ = read_between(endpoints, trade["kafka_topic"], {partition: (offset, offset + 1)}, 10.0, 1)
    return fetched.values[0]


def hex_lines(value: bytes) -> tuple[tuple[str, str], ...]:
    """Sixteen bytes to a line, with what of them is text; `*` in place of lines that are like the one before."""
    lines: list[tuple[str, str]] = []
    before = b""
    for at in range(0, len(value), 16):
        part = value[at : at + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "·" for byte in part)
        if part != before:
            lines.append((f"{at:04x}", f"{part.hex(' '):<47}  {text}"))
        elif lines[-1][0] != "*":
            lines.append(("*", ""))
        before = part
    return tuple(lines)


def _through_the_pipeline(stage: Stage) -> None:
    consumer = Consumer(stage.endpoints, ConsumerPlan(unhurried(stage.profile), until_caught_up=True))
    totals = consumer.run(threading.Event())
    seconds = consumer.steps.seconds
    stage.show(
        Bars(
            f"{totals.trades:,} trades through the pipeline",
            tuple((step, took, f"{took * 1000:7.1f} ms") for step, took in seconds.items()),
            "Measured just now, on this machine. Columns all the way: no Python loop over trades.",
        ),
        12,
    )


def _committed(stage: Stage, trade: Row) -> None:
    with Lake.at(stage.endpoints) as lake:
        pinned = pin(lake)
        if pinned is None or pinned.snapshot_id is None:
            raise RuntimeError("the consumer ended without a commit")
        plan = pinned.plan([trade["symbol"]])
        partition = TopicPartition(trade["kafka_topic"], trade["kafka_epoch"], trade["kafka_partition"])
        next_offset = pinned.checkpoints.by_partition[partition].next_offset
    stage.show(
        Facts(
            "one Iceberg transaction",
            (
                ("snapshot", str(pinned.snapshot_id)),
                ("data file", plan.paths[0].rsplit("/", 1)[-1][-48:]),
                ("size", f"{plan.bytes:,} bytes of Parquet, of all symbols, sorted by symbol and time"),
                ("offset in the same commit", f"partition {partition.partition}: next is {next_offset:,}"),
                ("our trade's offset", f"{trade['kafka_offset']:,}, so it is in the table"),
            ),
            "Rows and offsets move together or not at all: that is exactly-once.",
        ),
        12,
    )
    stage.check(offset_is_past(trade["kafka_offset"], next_offset))


def seam_grid(trade: Row, before: Answer, after: Answer) -> Grid:
    """The two answers side by side."""
    columns = []
    for answer in (before, after):
        evidence, row = answer.evidence, answer.table.to_pylist()[0]
        partition = trade["kafka_partition"]
        span = next(span for span in evidence.spans if span.topic == trade["kafka_topic"])
        columns.append(
            (
                "Kafka" if evidence.tail_rows else "the table",
                "none yet" if evidence.snapshot_id is None else str(evidence.snapshot_id),
                f"{span.boundary[partition]:,} of {span.watermarks[partition]:,}",
                str(row["message_id"])[-12:],
                f"{row['price'].normalize():f} × {row['quantity']:.0f}",
                str(row["sector"] or "not enriched yet"),
                "yes" if evidence.complete else "no",
            )
        )
    labels = ("answered from", "snapshot", "Kafka from offset", "message_id", "price × quantity", "sector", "complete")
    rows = tuple(zip(labels, *columns, strict=True))
    return Grid(f"newest trade of {SYMBOL}", ("", "before the commit", "after the commit"), rows)


def _while_it_flows(stage: Stage) -> None:
    """Queries while trades arrive and commits happen: each has to be complete."""
    stage.start_consumer()
    stage.prepare_load(stage.plan(FLOW_RATE, stage.pacing.last(30, 4), duplicates=0.01))
    stage.watch(lambda tick: bool(tick.overview.consumers), 30)
    stage.step(f"{FLOW_RATE:,} trades a second arrive and are committed; {SYMBOL} is queried all the while")
    window = stage.begin_load()
    asked = []
    with Session.at(stage.endpoints) as session:
        while stage.loading:
            stage.watch_for(0.3)
            asked.append(_ask(session, window))
    stage.finish_load()
    answer, _ = asked[-1]
    stage.check(complete_answer(f"a query of {SYMBOL} while data flows is complete", answer))
    stage.check(stayed_complete([answer for answer, _ in asked], statistics.median(took for _, took in asked)))
    stage.stop_processes()


def _ask(session: Session, window: Window) -> tuple[Answer, float]:
    started_s = time.monotonic()
    return session.recent(SYMBOL, window), time.monotonic() - started_s
