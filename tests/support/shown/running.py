"""What runs and what it did: benchmarks, the stack, loads and consumers."""

from dataclasses import replace
from typing import Final

from rich.console import Group

from k2ctl.checks.bench.figures import Figure
from k2ctl.checks.bench.results import Compared
from k2ctl.consume.platform import ConsumerTotals
from k2ctl.deferred.outstanding import OutstandingRange
from k2ctl.domain.checkpoint import Counts
from k2ctl.domain.status_parts import SequenceCounts
from k2ctl.endpoints import Endpoints
from k2ctl.load.generator import LoadSummary
from k2ctl.load.workers import LoadSnapshot
from k2ctl.stack.engine import Board, Event, Phase, ServiceStatus, Up
from k2ctl.stack.fleet import Member
from k2ctl.views.checks import comparison_table, figures_table
from k2ctl.views.consume import fleet_table, outstanding_table, status_text, summary
from k2ctl.views.load import progress_text, summary_table
from k2ctl.views.stack import board_panel, status_table, up_panel
from tests.support.shown import Shown
from tests.support.statuses import a_status

FIGURES: Final = (
    Figure("load", "frame 1", "produce", 1_958_050, "trades/s", 1_890_378, 1.036, 0.8, low=1_950_000, high=1_970_000),
    Figure("load", "frame 100", "produce, absolute", 12_571_430, "trades/s", goal=2e6, low=12.5e6, high=12.6e6),
    Figure("load", "100k/s", "worst second off by", 0.0103, "share", goal=0.05, at_most=True),
    Figure("consume", "frame 1", "to committed rows", 722_406, "trades/s", 593_590, 1.22, 0.7, low=7e5, high=7.2e5),
    Figure("consume", "frame 1", "baseline: Kafka alone", 4_123_456, "trades/s"),
    Figure("naive", "200,000 trades", "k2ctl, against naive SBE", 446_239, "trades/CPU s", 168_436, 2.65),
    Figure("commits", "old to young", "p95 ratio", 1.37, "×", goal=1.5, at_most=True),
    Figure("sequence", "Redis, 10,000 to 1", "checks", 5_173_561, "trades/s", 5_154, 1003.7, 10),
    Figure("dedup", "one chunk of 500,000 ids", "every id tested", 9_615_448, "ids/s", 452_043, 21.27, 5),
    Figure("dedup", "1,000,000 ids", "memory of chunks", 1_977_536, "bytes", goal=2e9, at_most=True),
    Figure("dedup", "1,000,000 ids", "false positives, of the rate set", 0.000505, "share", 0.001, 0.51, 1.2, True),
    Figure("query", "300,000 rows, 5,000/s, frame 1", "server, p95", 22.2, "ms", 8.4, 2.64, 1.5, at_most=True),
    Figure(
        "query", "300,000 rows, 5,000/s, frame 1", "acknowledged to visible, p99", 22.9, "ms", goal=1e3, at_most=True
    ),
)
COMPARED: Final = tuple(
    Compared(replace(figure, value=figure.value * (1 - change), ratio=figure.ratio), figure, change, 0.05)
    for figure, change in zip(FIGURES, (-0.09, 0.01, -0.2, 0.31), strict=False)
)
_ENDPOINTS: Final = Endpoints(
    "docker", "127.0.0.1:9092", "postgresql+psycopg://k2:word@127.0.0.1:5432/k2", "s3://k2-lake/warehouse",
    state_url="redis://:word@127.0.0.1:6379/0", profile="laptop",
)  # fmt: skip
SERVICES: Final = [
    ServiceStatus("kafka", "running", "healthy", "127.0.0.1:9092", 123_456, 93_784.0, 612_345_678, 1.43),
    ServiceStatus("postgres", "running", "healthy", "postgresql+psycopg://k2:word@127.0.0.1:5432/k2", 123_457, 93_784.0,
                  58_123_456, 0.02),
    ServiceStatus("redis", "running", "healthy", "redis://:word@127.0.0.1:6379/0", 123_458, 93_784.0, 9_123_456, 0.0),
    ServiceStatus("object-store", "running", "answers with 503: slow down", "http://127.0.0.1:9000", 123_459, 93_784.0,
                  212_345_678, 0.31),
    ServiceStatus("prometheus", "exited", "container k2-prometheus is gone", "http://127.0.0.1:9090"),
    ServiceStatus("catalog", "file", "healthy", "/home/someone/.local/state/k2ctl/lake/catalog.db"),
]  # fmt: skip
_LATENCY: Final = {"p50": 1.02, "p99": 12.31, "p99.9": 123.42, "p100": 1234.56}
SUMMARY: Final = LoadSummary(
    29_999_981, 299_999, 0, 100_000.0, 99_999.9, False, 300.0, 0.0052, 0.0, 3_360_000_000, 4, _LATENCY, _LATENCY,
    partitions=12,
)  # fmt: skip
STOPPED: Final = replace(
    SUMMARY, trades_failed=4_321, saturated=True, paused_s=83.2, files=14, filtered=12, late=3, broken_lines=2,
    first_broken=[{"file": "asx/2014-03-10.csv", "line": 123_456, "reason": "price 'n/a' is no decimal"}],
    failed_by={"Broker: Not leader for partition": 4_000, "not acknowledged in time": 321},
)  # fmt: skip
LOADING: Final = LoadSnapshot(154.8, 300.0, 100_000.0, 99_876.0, 15_474_470, 30_000_000, 4_430, 0.0, "")
MEMBERS: Final = [
    Member("consumer-1", "running", 123_456, None, 1, "CIRCUIT_BREAK", tuple(range(0, 12, 2)), 12_345_678, 250_000.0),
    Member("consumer-2", "exited", None, "k2-consumer-2"),
]


OUTSTANDING: Final = [
    OutstandingRange(topic, "2JT3xQ", 3 * at, 1_234_567, 1_299_999, 65_432, priorities, level, where, gone)
    for at, (topic, priorities, level, where, gone) in enumerate(
        (
            ("market.equities.trades.asx", ("LOW",), "GRACEFUL", "Kafka", 0),
            ("market.equities.trades.asx", ("HIGH", "NORMAL"), "CIRCUIT_BREAK",
             "f627b6fb-ccd1-4174-9175-e8eac3e6a99c.k2spill", 0),
            ("market.crypto.trades.binance", ("NORMAL", "LOW"), "AGGRESSIVE", "Kafka, which has deleted 12 of it", 12),
        )
    )
]  # fmt: skip


def _bars_of_a_load(width: int, height: int) -> Group:
    why = "a partition holds 82% of its 5 MiB unread; waiting for a consumer"
    return Group(progress_text(LOADING), progress_text(replace(LOADING, rate=0.0, paused_s=4.0, paused_why=why)))


def _board(width: int, height: int) -> object:
    board = Board("k2ctl stack up")
    for at_s, event in (
        (0.1, Event(Phase.PULL, "kafka", "apache/kafka:4.3.1, 212 of 390 MB", 0.54)),
        (0.2, Event(Phase.HEALTHY, "postgres", "answers a transaction")),
        (1.2, Event(Phase.PROBE, "object-store", "puts and deletes an object; not yet: connection refused")),
        (1.3, Event(Phase.WAITING, "prometheus")),
        (2.3, Event(Phase.FAILED, "redis", "ended with exit code 1")),
    ):
        board = board.after(event, at_s)
    return board_panel(board.at(12.3))


def _consumed(width: int, height: int) -> object:
    counts = Counts(1_262_172, 1_257_972, 4_200, 0, 0, 0, 3, 1)
    totals = ConsumerTotals(records=1_262_172, trades=1_262_172, stored=1_257_972, backfilled=350_732, commits=312)
    return summary(totals, counts, SequenceCounts(open_gaps=3, missing_trades=25, out_of_order=12, resets=500), 93.4)


def _consuming(width: int, height: int) -> Group:
    busy = a_status(
        level="GRACEFUL", level_number=2, lag_committed_trades=1_234_567, lag_seconds=12.3, rate_in=123_456.0,
        rate_committed=98_765.0, counts=Counts(stored=12_345_678), pending=12_345, outstanding=234_567, commit_ms=123.4,
    )  # fmt: skip
    return Group(status_text(a_status()), status_text(busy))


SCREENS: Final[dict[str, Shown]] = {
    "bench": lambda *_: figures_table(FIGURES),
    "bench-compared": lambda *_: comparison_table(COMPARED),
    "stack-up": _board,
    "stack-is-up": lambda *_: up_panel(Up(_ENDPOINTS, False, False, 9.0)),
    "stack-status": lambda *_: status_table(_ENDPOINTS, SERVICES),
    "load": _bars_of_a_load,
    "load-summary": lambda *_: summary_table(SUMMARY),
    "load-summary-stopped": lambda *_: summary_table(STOPPED),
    "consume": _consuming,
    "consume-summary": _consumed,
    "backfill": lambda *_: outstanding_table(OUTSTANDING),
    "consume-status": lambda *_: fleet_table(MEMBERS, 93_785.0),
}
