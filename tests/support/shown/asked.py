"""Answers of queries, topics and dead letters."""

from typing import Final

import numpy as np
import pyarrow as pa
from rich.console import Group, RenderableType
from rich.text import Text

from k2ctl.commands.shell.commands import COMMANDS
from k2ctl.domain.decimals import of_text
from k2ctl.domain.rows import Rows
from k2ctl.feeds.look.counted import PartitionCount, TopicCount
from k2ctl.feeds.look.described import TABLE_READER, DescribedPartition, DescribedReader, TopicDescription
from k2ctl.feeds.look.known import TopicSummary
from k2ctl.feeds.look.records import SeenRecord
from k2ctl.kafka.dead_letters import StoredDeadLetter, StoredDeadLetters
from k2ctl.query.answer import Evidence
from k2ctl.query.tail import OffsetSpan
from k2ctl.query.texts import with_nanoseconds
from k2ctl.views.dead_letters import dead_letter_panel, dead_letters_panel
from k2ctl.views.follow import HEADING, ended, skipped, trade_lines
from k2ctl.views.query import footer, plan_table, rows_table, trades_table
from k2ctl.views.shell import help_panel, views_panel
from k2ctl.views.topic import records_panel, topics_panel
from k2ctl.views.topic_description import count_panel, description_panel
from tests.made_trades import BASE_US, make_trades
from tests.support.shown import Shown

TOPIC: Final = "market.equities.trades.asx"
ASKED_US: Final = BASE_US + 3_600_000_000
PARTITIONS: Final = range(12)


def _trades() -> pa.Table:
    """Twelve trades, of large and small figures."""
    made = make_trades(12)
    made["received_ns"] = made["event_ns"] + 1_000_000
    made["symbol"][3], made["symbol"][4] = b"BTCUSDT", b"6AH6 C0105.5"
    made["price"][4] = of_text("93576.00012345")
    numbers = np.arange(12, dtype=np.int32)
    rows = Rows.of(TOPIC, "2JT3xQ", made, numbers, numbers.astype(np.int64) * 123_457, np.zeros(12, np.int32))
    return with_nanoseconds(rows.to_arrow(ASKED_US))


EVIDENCE: Final = Evidence(
    snapshot_id=6_413_679_810_505_938_113, committed_at_us=ASKED_US - 812_000, topics=(TOPIC,),
    spans=(
        OffsetSpan(
            TOPIC, "2JT3xQdeRt2bR0h7aYpQ1w", {p: 1_234_567 + p for p in PARTITIONS},
            {p: 1_236_789 + 7 * p for p in PARTITIONS}, {}, {},
        ),
    ),
    lake_rows=91_631, tail_rows=4_321, duplicates_removed=12, tail_records=26_664, undecodable=2, invalid=1, lost=0,
    more=True, newest_us=ASKED_US - 23_000, asked_at_us=ASKED_US, answered_at_us=ASKED_US, missing=(), last_trade_us={},
    files=4, file_bytes=12_345_678, of_files=312, of_bytes=987_654_321,
    stages_ms={"pin": 3.2, "plan": 12.1, "watermarks": 4.4, "scan": 31.9, "tail": 22.6, "unite": 1.2, "render": 5.1},
)  # fmt: skip


def _recent(width: int, height: int) -> Group:
    drawn = trades_table(_trades(), width)
    return Group(drawn.table, *footer(EVIDENCE, 12, drawn.cut))


def _bars(width: int, height: int) -> Group:
    columns = {
        "symbol": ["BHP"] * 8, "bar": [f"2014-03-10 00:{minute:02d}:00" for minute in range(8)],
        **{name: [f"{35.12 + at / 7:.2f}" for at in range(8)] for name in ("open", "high", "low", "close")},
        "volume": [123_456 + 991 * at for at in range(8)], "vwap": [f"{35.123456 + at / 7:.6f}" for at in range(8)],
        "trades": [17 * at + 3 for at in range(8)],
    }  # fmt: skip
    drawn = rows_table(pa.table(columns), width)
    return Group(drawn.table, *footer(EVIDENCE, 8, drawn.cut))


def _followed(width: int, height: int) -> Group:
    return Group(HEADING, skipped(1_234), *trade_lines(_trades()), ended(1_246, 3, 12.3))


def _at(us: int) -> str:
    return f"{np.datetime64(us, 'us')}Z"


DESCRIPTION: Final = TopicDescription(
    TOPIC, "K2's own", "2JT3xQdeRt2bR0h7aYpQ1w",
    tuple(
        DescribedPartition(p, 0, 12_345_678 + p, 1 + p % 3, (1, 2, 3), (1, 2, 3) if p else (2, 3),
                           _at(ASKED_US - 1_000 * p))
        for p in PARTITIONS
    ),
    148_148_202, 112.0, {"retention.ms": "86400000", "cleanup.policy": "delete", "max.message.bytes": "1048588"},
    (
        DescribedReader(TABLE_READER, {p: 12_340_000 + p for p in PARTITIONS}, 68_136),
        DescribedReader("risk-report-of-the-desk", dict.fromkeys(PARTITIONS, 10000000), 28_148_202),
    ),
    17, ("copies: the engine does not say",),
)  # fmt: skip


def _records(width: int, height: int) -> RenderableType:
    one, two = make_trades(2)
    one["received_ns"] = two["received_ns"] = one["event_ns"] + 1_000_000
    json = '{"symbol":"BHP","price":"35.12","quantity":"800","side":"BUY","venue":"ASX","conditions":["XT"]}'
    return records_panel(
        TOPIC,
        [
            SeenRecord(3, 12_345_678, _at(BASE_US), None, bytes(112), "00 01 02 03 04 05 06 07 08 ", [one], []),
            SeenRecord(11, 12_345_679, _at(BASE_US + 999), "BHP", json.encode(), json, [two], []),
            SeenRecord(4, 7, None, None, b"{", "{", [], ["it is no JSON: unexpected end of data"]),
        ],
        decoded=True,
    )


def _dead_letter(offset: int, reason: str, value: bytes, *, retried: bool = False) -> StoredDeadLetter:
    return StoredDeadLetter(
        f"0:{offset}", BASE_US // 1000, reason, TOPIC, "2JT3xQdeRt2bR0h7aYpQ1w", 3, 1_234_567 + offset, 7, len(value),
        value, b"BHP", (("source", b"gateway-7"),), retried=retried,
    )  # fmt: skip


DEAD_LETTERS: Final = (
    _dead_letter(12_345, "price: 'n/a' is no decimal number", b'{"symbol":"BHP","price":"n/a"}'),
    _dead_letter(12_346, "timestamp: 2031-01-01T00:00:00Z is more than 5 min ahead of Kafka's time", bytes(112)),
    _dead_letter(12_347, "the record is shorter than its header says: 100 of 112 bytes", bytes(100), retried=True),
)


SCREENS: Final[dict[str, Shown]] = {
    "query-recent": _recent,
    "query-bars": _bars,
    "query-explain": lambda *_: plan_table(EVIDENCE, 95_940),
    "query-follow": _followed,
    "query-shell-help": lambda *_: help_panel(
        ("\\" + one.names[0] + " " + one.argument, ", ".join("\\" + name for name in one.names[1:]), one.help)
        for one in COMMANDS
    ),
    "query-shell-views": lambda *_: views_panel(),
    "topic-list": lambda *_: topics_panel(
        [
            TopicSummary(TOPIC, 12, 148_148_202, "K2's own", 17),
            TopicSummary("market.crypto.trades.binance.spot.usdt", 128, 12_345, "binance-trades", 0),
        ]
    ),
    "topic-describe": lambda *_: description_panel(DESCRIPTION, ASKED_US),
    "topic-tail": _records,
    "topic-count": lambda *_: count_panel(
        TopicCount(
            TOPIC, tuple(PartitionCount(p, 123_456 + p, 13_827_072, 1_234_567, p, 12 * p) for p in range(4)), {3: 17}
        )
    ),
    "dead-letters": lambda *_: dead_letters_panel(StoredDeadLetters(DEAD_LETTERS, 1_234), DEAD_LETTERS),
    "dead-letter": lambda *_: Group(dead_letter_panel(DEAD_LETTERS[0]), Text()),
}
