"""Part of `k2ctl bench consume`: a backlog of foreign records into committed rows, by a feed."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from k2ctl.checks.baselines.loops import bare_consume_s, bare_produce_s, bare_query_s
from k2ctl.checks.bench.avro import as_avro, avro_feed
from k2ctl.checks.bench.drain import require_all, through_k2ctl
from k2ctl.checks.bench.figures import BASELINE, Figure, absolute, against, measured, middle
from k2ctl.checks.bench.suite import Bench, made_trades
from k2ctl.consume.processing import BATCH_TRADES
from k2ctl.domain.decimals import as_text
from k2ctl.domain.trade import SIDES
from k2ctl.endpoints import Endpoints
from k2ctl.home import Home
from k2ctl.kafka.admin import BrokerAdmin

DRAIN_GOAL: Final = 0.7


@dataclass(frozen=True)
class ForeignCase:
    """Records of a kind, and what a consumer is to reach with them."""

    name: str
    # Opens the feed that reads them, by name or by path, given a folder.
    feed: Callable[[Path], AbstractContextManager[str]]
    # Trades as such records, one each.
    encode: Callable[[np.ndarray], list[bytes]]
    # What DuckDB alone does with a batch of them, the table `records` with the column `value`; None where it cannot.
    query: str | None
    # Records a second that are enough, however fast the machine is.
    goal: float


def _as_binance(trades: np.ndarray) -> list[bytes]:
    """Trades as Binance's stream has them, about 110 bytes each."""
    sell = SIDES.index("SELL")
    return [
        b'{"e":"trade","E":%d,"s":"%s","t":%d,"p":"%s","q":"%s","T":%d,"m":%s,"M":true}'
        % (
            trade["received_ns"] // 1_000_000,
            bytes(trade["symbol"]),
            trade["trade_id"],
            as_text(trade["price"]).encode(),
            as_text(trade["quantity"]).encode(),
            trade["event_ns"] // 1_000_000,
            b"true" if trade["side"] == sell else b"false",
        )
        for trade in trades
    ]


JSON_CASE: Final = ForeignCase(
    "JSON, Binance",
    lambda _: nullcontext("binance-websocket"),
    _as_binance,
    "SELECT found[1], found[2]::BIGINT, found[3]::DECIMAL(38, 12), found[4]::DECIMAL(38, 12), found[5]::BIGINT,"
    " found[6]"
    " FROM (SELECT json_extract_string(value, ['$.s', '$.t', '$.p', '$.q', '$.T', '$.m']) AS found FROM records)",
    500_000.0,
)

AVRO_CASE: Final = ForeignCase("Avro, TradeV2", avro_feed, as_avro, None, 250_000.0)

FOREIGN_CASES: Final = (JSON_CASE, AVRO_CASE)


def bench_foreign(bench: Bench, endpoints: Endpoints, case: ForeignCase) -> list[Figure]:
    """A backlog of such records into committed rows, against consuming alone and DuckDB's query alone."""
    count = bench.sizes.drain
    with Home.of_user().temporary("bench-") as home, case.feed(home.path) as feed:
        ours, consuming, querying = bench.repeated(
            lambda: _drain_once(bench, endpoints, case, feed, count), f"consume: {count:,} records, {case.name}"
        )
    if case.query is None:
        figure = against("consume", case.name, "to committed rows", ours, "trades/s", consuming, None)
        return [figure, absolute(figure, case.goal)]
    baselines = [1 / (1 / read + 1 / query) for read, query in zip(consuming, querying, strict=True)]
    # One of the two is enough: so many records, or so much of what its parts reach alone.
    goal = None if middle(ours) >= case.goal else DRAIN_GOAL
    return [
        against("consume", case.name, "to committed rows", ours, "trades/s", baselines, goal),
        measured("consume", case.name, f"{BASELINE}bare consume and join", consuming, "trades/s"),
        measured("consume", case.name, f"{BASELINE}bare query", querying, "trades/s"),
    ]


def _drain_once(bench: Bench, kafka: Endpoints, case: ForeignCase, feed: str, count: int) -> list[float]:
    """Records a second: k2ctl's, bare consuming, the bare query."""
    plain = bench.unused_profile()
    profile = plain.model_copy(update={"topic": plain.topic.model_copy(update={"feed": feed})})
    topic = profile.trades_topic
    trades, per_partition = made_trades(profile, count)
    values = case.encode(trades)
    del trades
    ends = np.cumsum(per_partition).tolist()
    by_partition = [values[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    with BrokerAdmin(kafka) as admin:
        admin.create_topic(topic, len(per_partition))
        bare_produce_s(kafka, topic, by_partition)
        marks = admin.watermarks(topic)
    consuming_s, _ = bare_consume_s(kafka, topic, marks, profile.consumer.fetch_batch)
    querying_s = bare_query_s(case.query, values, BATCH_TRADES) if case.query is not None else consuming_s
    del values, by_partition
    spent = through_k2ctl(bench.fresh_lake(kafka), profile)
    require_all(spent.trades, count, "The consumer", "consume")
    with BrokerAdmin(kafka) as admin:
        admin.delete_topic(topic)
    return [count / spent.seconds, count / consuming_s, count / querying_s]
