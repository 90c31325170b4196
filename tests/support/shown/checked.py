"""What is checked and counted: gaps, verify, doctor, feeds, the lake, costs."""

from typing import Final

from rich.console import RenderableType

from k2ctl.checks.validate.targets import Target
from k2ctl.checks.validate.validation import Validation
from k2ctl.checks.verify.accounted import Accounted
from k2ctl.checks.verify.verification import FAULTS, Finding, Verified
from k2ctl.commands import cost_views
from k2ctl.cost.price_book import load_book
from k2ctl.cost.pricing import Pricing
from k2ctl.dedup.report import DedupFigures, DedupReport
from k2ctl.domain.checkpoint import Counts
from k2ctl.domain.dedup_status import DedupStatus, TierStatus
from k2ctl.domain.figure import Durations
from k2ctl.feeds.check.checked import Checked, CheckedNumbers, Failure, Ids, Origin
from k2ctl.lake.maintenance.status import HourStatus, PartitionCheckpoint, TableStatus
from k2ctl.profiles.feed import feed_names, load_feed
from k2ctl.sequence.gap_report import GapReport, SymbolDay, UnmatchedEvent
from k2ctl.sequence.store_view import PartitionView, StoreView
from k2ctl.stack.preflight import Check, Verdict
from k2ctl.views.checks import checks_panel, validate_panel
from k2ctl.views.dedup import dedup_panel
from k2ctl.views.feed import check_panel, feeds_panel
from k2ctl.views.lake import gaps_panel, status_panel, store_panel
from k2ctl.views.verify import accounted_panel, verify_panel
from tests.made_trades import make_trades
from tests.support.shown import Shown
from tests.support.shown.asked import TOPIC

CHECKS: Final = (
    Check("Python", Verdict.OK, "3.11.7, 64 bits"),
    Check("memory", Verdict.OK, "23.5 GiB, 19.2 GiB of it free"),
    Check("docker", Verdict.NOTE, "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is it running?",
          "Not needed for the embedded engine. Start it: sudo systemctl start docker"),
    Check("Kafka", Verdict.WRONG, "127.0.0.1:9092 takes no record: Local: Message timed out after 10,000 ms",
          "k2ctl stack logs kafka"),
    Check("embedded Kafka", Verdict.NOTE,
          "partition 3 holds 4.6 of the 5 MiB that it keeps unread; a load waits from there on", "k2ctl consume"),
)  # fmt: skip
VERIFIED: Final = Verified(
    TOPIC, "2JT3xQ", runs=3, unfinished=1, symbols=510, acknowledged=1_262_172, expected=1_257_972, copies=4_200,
    in_lake=1_257_000, in_tail=900, uncertain=3, foreign=12, uncompared=17, of_unfinished=200_545,
    faults={**dict.fromkeys(FAULTS, 0), "missing": 72, "altered": 3, "deferred": 4_584},
    findings=[
        Finding("missing", "BHP", 123_456, 123_520, 65), Finding("missing", "6AH6 C0105.5", 1, 7, 7),
        Finding("altered", "RIO", 12, 12, 3, "price"),
        Finding("altered", "CBA", 0, 0, 1, "quantity", "00000000-0000-03ea-0000-000000000ba7"),
        Finding("deferred", "AMY", 1_000, 5_583, 4_584),
    ],
    elsewhere={"8c5f1c1e": 20_000},
)  # fmt: skip
HOLDS: Final = Verified(
    TOPIC, "2JT3xQ", 1, 0, symbols=510, acknowledged=29_999_981, expected=29_999_981, in_lake=29_999_981
)
ACCOUNTED: Final = Accounted(
    TOPIC, "2JT3xQ", 1_262_184, 1_262_172, 1_257_969, 4_200, 4_584, 3, 1, 12, 900,
    {"missing": 72, "altered": 3}, [
        Finding("missing", "BHP", 1_123_456, 1_123_520, 65, partition=3),
        Finding("altered", "6AH6 C0105.5", 12, 12, 3, "quantity", partition=11),
    ],
    12_345, not_judged={"sector": 17}, counts_differ={3: {"dead_lettered": (4, 3)}},
)  # fmt: skip
GAPS: Final = GapReport(
    (
        SymbolDay("ASX", "BHP", "2014-03-10", 91_631, 17, 12, 3, 2, 99.981),
        SymbolDay("BINANCE", "BTCUSDT", "2014-03-10", 12_345_678, 1_234_567, 0, 1_234_567, 0, 90.909),
        SymbolDay("ASX", "RIO", "2014-03-10", 108_671, 0, 0, 0, 0, 100.0),
    ),
    (), 12_545_980, 1_234_584, 91.041, {"CHIX": 12_345}, 7, 500,
    (UnmatchedEvent("ASX", "BHP", "CORRECT", "00000000-0000-03ea-0000-000000000ba7", "", 0),),
    not_dense=("BINANCE/BTCUSDT", "BINANCE/ETHUSDT"),
)  # fmt: skip
_COUNTS: Final = Counts(1_262_172, 1_257_969, 4_200, 0, 0, 0, 3, 1)
TABLE: Final = TableStatus(
    "/home/someone/.local/state/k2ctl/lake", 6_413_679_810_505_938_113, 12.3, 312, 28, 1_257_969, 98_765_432,
    tuple(HourStatus(f"2014-03-{day:02d}T05", 2, 89_854, 7_054_673) for day in range(1, 15)),
    tuple(PartitionCheckpoint(TOPIC, "2JT3xQ", p, 105_181 + p, _COUNTS, True) for p in range(12)),
    _COUNTS, True, 3, 12_345_678, "consumer-host-123456",
)  # fmt: skip
CHECKED: Final = Checked(
    "binance-trades", "BTCUSDT-trades-2025-01-01.zip", 1_000_000, True, 999_700, 12, 300,
    (
        Failure("price is negative", 288, "price: '-1' is below 0", Origin("BTCUSDT.csv:123,456", "1,-1,0.002,true")),
        Failure("a column is missing", 12, "line 7 has 3 columns of 6", Origin("BTCUSDT.csv:7", "4,0.1,0.002")),
    ),
    ((Origin("BTCUSDT-trades-2025-01-01.csv:2", "4359431826,93576.00,0.00100,93.576,1735689600,true"),
      make_trades(1)[0]),),
    (("BTCUSDT", 999_700),), 1, "2025-01-01T00:00:00Z", "2025-01-01T23:59:59.999999Z",
    {"BUY": 512_345, "SELL": 487_355}, Ids(999_688, 12, 0, 0),
    CheckedNumbers(999_700, "dense", "dense", "each is one more than the last", True), 812_345.0,
    ("the ids of 12 trades are those of others: they are copies",),
)  # fmt: skip
_DEDUP: Final = DedupStatus(
    checked=123_456_789, suspects=1_234_567, within=10, pending=20, stored=70_000, cleared=1_164_547,
    ids_tested=100_000_000, chunk_tests=250_000_000, hits_confirmed=70_020, hits_false=300_000, hits_reread=864_547,
    beyond_memory=12, lookups=Durations().plus(0.5).plus(1.5), other_ids=99_999_999, chunks=200,
    chunks_forgotten_early=3, planned_error_rate=0.001, bytes=198_000_000, planned_bytes=256_000_000,
    tier=TierStatus(ids=1_000_000, hits=5_000, waiting=17, guarantee="REDUCED", why="Redis is away", round_trips=2_000),
)  # fmt: skip
STORE: Final = StoreView(
    "redis", "k2:{3f2a:trades}", TOPIC, 510, 64_260, 126.0,
    tuple(PartitionView(p, 42, 5_292, 604_800.0 if p else None, 123_456 + p, 0, 789 * p) for p in range(4)),
    {"redis_version": "6.2.14", "used_memory_human": "1.21M"},
)  # fmt: skip


def _costs(*, every_line: bool) -> RenderableType:
    pricing = Pricing(load_book(), ())
    return cost_views.estimate_view(pricing, pricing.scenario("1M", None), every_line=every_line).panel()


def _compared_costs(width: int, height: int) -> RenderableType:
    pricing = Pricing(load_book(), ())
    return cost_views.comparison_view([pricing.subject(name, None) for name in ("10K", "1M", "10M")]).panel()


def _deduplication(width: int, height: int) -> RenderableType:
    figures = {"consumer-1": DedupFigures.of(_DEDUP), "consumer-2": DedupFigures.of(_DEDUP)}
    return dedup_panel(DedupReport(TOPIC, figures, DedupFigures.of(_DEDUP), ""))


def _validation(width: int, height: int) -> RenderableType:
    p99 = Target("query", "hybrid queries, p99", "≤ 500 ms while trades arrive", "k2ctl bench query --rows 20M")
    rate = Target("load", "rate at the end of the ramp", "500,000 trades/s, off by ≤ 1 %", "k2ctl load --ramp-to 500k")
    redis = Target("sequence", "checks through Redis", "10,000 in ≤ 100 ms", "k2ctl bench sequence")
    results = [
        p99.judged(True, "57 ms over 20,000,000 rows; p95 31.2 ms"),
        rate.judged(False, "412,345 trades/s; the worst second was 17.2 % off"),
        redis.not_measured("no redis-server was found on this machine"),
    ]
    found = Validation("embedded", False, results, 312.4, cpus=2, others_load=0.2)
    return validate_panel(found, width)


SCREENS: Final[dict[str, Shown]] = {
    "doctor": lambda *_: checks_panel(CHECKS),
    "validate": _validation,
    "verify": lambda *_: verify_panel([HOLDS, VERIFIED]),
    "verify-against-kafka": lambda *_: accounted_panel([ACCOUNTED]),
    "gaps": lambda *_: gaps_panel(GAPS),
    "lake-status": lambda *_: status_panel(TABLE),
    "state-store": lambda *_: store_panel(STORE),
    "state-deduplication": _deduplication,
    "feed-list": lambda *_: feeds_panel([load_feed(name) for name in feed_names()]),
    "feed-check": lambda *_: check_panel(CHECKED),
    "cost": lambda *_: _costs(every_line=False),
    "cost-lines": lambda *_: _costs(every_line=True),
    "cost-compared": _compared_costs,
}
