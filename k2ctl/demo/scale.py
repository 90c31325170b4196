"""Act 4, scale and cost: what this machine reaches, what that costs, and what to turn on when."""

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.cost import measured
from k2ctl.cost.capacity import HOURS_PER_MONTH
from k2ctl.cost.estimate import Estimate, scale_of
from k2ctl.cost.lines import Component
from k2ctl.cost.price_book import PriceBook, load_book
from k2ctl.cost.pricing import Pricing
from k2ctl.demo.checks import Priced, costed, drained
from k2ctl.demo.pacing import unhurried
from k2ctl.demo.result import Bars, Billing, Facts, Grid
from k2ctl.demo.stage import Stage
from k2ctl.profiles import load_profile
from k2ctl.profiles.nodes import vcpus

BILLING: Final = Billing(
    4,
    "Scale and cost",
    "What does one core do, measured now? And what does a platform of a million trades a second cost a month?",
    (
        "The drain is measured in front of you: a backlog in Kafka, one consumer, no budget.",
        "The three platforms are extrapolated from it by published sizing rules and list prices; `k2ctl cost` shows "
        "every line with its formula, source and date.",
        "Nobody needs everything on the first day: the last table says what to turn on when.",
    ),
)

DRAINS: Final = 3
BACKLOG: Final = 200_000
BACKLOG_RATE: Final = 200_000
SCALES: Final = ("10K", "1M", "10M")

WHAT_WHEN: Final = (
    ("to try it", "embedded: only Python"),
    ("one machine, real Kafka", "k2ctl stack up --engine local, or docker"),
    ("bursts over capacity", "nothing: the ladder is on; tiers are in the profile"),
    ("a second consumer", "Redis for sequence state; one Kafka group for both"),
    ("a second machine", "tables in S3, catalog in PostgreSQL or REST"),
    ("many consumers", "nothing: what they write is committed together; on a cluster, k2ctl stack render --kubernetes"),
    ("ids that are random", "nothing: Bloom filters take over; give them memory in the profile"),
)


@dataclass(frozen=True)
class Drain:
    """One drain of a backlog: trades, seconds from first to last, CPU-seconds of the process."""

    trades: int
    seconds: float
    cpu_s: float


def play(stage: Stage) -> None:
    """Measure, then reckon with what was measured."""
    drains = [_drain(stage, number) for number in range(1, 2 if stage.pacing.quick else DRAINS + 1)]
    rates = [drain.trades / drain.seconds for drain in drains]
    per_core = statistics.median(drain.trades / drain.cpu_s for drain in drains)
    stage.show(
        Bars(
            f"one consumer drains {BACKLOG:,} trades from Kafka into the table",
            tuple((f"drain {at}", rate, f"{rate:,.0f} trades/s") for at, rate in enumerate(rates, 1)),
            f"A core busy for a second stores {per_core:,.0f} trades; other work on this machine slows the drain, "
            "not that figure.",
        ),
        10,
    )
    stage.check(drained(statistics.median(rates), per_core, stage.readings.counts(), stage.acknowledged))
    book = load_book()
    stage.show(_core(per_core, book), 10)
    stage.step("Three platforms, priced with what was just measured, beside what the profiles assume")
    found = measured.load(stage.endpoints.home)
    priced = [Priced(*(Pricing(book, (), by).subject(name, None) for by in (found, None))) for name in SCALES]
    stage.show(_platforms(priced, book), 14)
    stage.moment("act-4")
    stage.check(costed(priced))
    stage.show(Grid("what to turn on when", ("when you have", "turn on"), WHAT_WHEN), 12)


def _drain(stage: Stage, number: int) -> Drain:
    stage.step(f"Drain {number}: {BACKLOG:,} trades into Kafka, while nobody reads")
    stage.start_load(stage.plan(BACKLOG_RATE, BACKLOG / BACKLOG_RATE, frame=10))
    sent = stage.finish_load()
    measured.record_load(stage.endpoints.home, sent.acknowledged, sent.summary.wire_bytes)
    stage.step("One consumer, as fast as it can")
    consumer = Consumer(stage.endpoints, ConsumerPlan(unhurried(stage.profile), until_caught_up=True))
    started_s, cpu_from_s = time.monotonic(), time.process_time()
    totals = consumer.run(threading.Event())
    drain = Drain(totals.trades, time.monotonic() - started_s, time.process_time() - cpu_from_s)
    deferred = int(totals.by_priority[:, 1:].sum())
    measured.record_consume(
        stage.endpoints.home, totals.trades, totals.stored, totals.written_bytes, drain.cpu_s, deferred
    )
    return drain


def _core(per_core: float, book: PriceBook) -> Facts:
    """What a core of the platform's own kind of node costs, kept half busy."""
    scale = scale_of(load_profile("1M"))
    node = scale.clients.node
    usd_hour = book.price("ec2", node).rate
    if usd_hour is None:
        return Facts("one core", (("price", "not found"),))
    monthly_usd = usd_hour * HOURS_PER_MONTH / vcpus(node)
    assumed = 1e6 / scale.clients.cpu_s_per_million.lake_writer

    def usd(per_core_s: float) -> float:
        return monthly_usd / (per_core_s * scale.clients.cpu_target * HOURS_PER_MONTH * 3600) * 1e6

    return Facts(
        "one core",
        (
            ("costs", f"{monthly_usd:,.2f} USD a month ({node}, on demand, {book.region})"),
            ("stores", f"{per_core:,.0f} trades a busy second, as measured"),
            ("kept", f"{scale.clients.cpu_target:.0%} busy, so that a burst finds room"),
            ("so a million trades cost", f"{usd(per_core):.5f} USD, just measured | {usd(assumed):.5f}, profile's"),
        ),
        "Cores are the small part: Kafka, storage and queries follow.",
    )


def _platforms(priced: Sequence[Priced], book: PriceBook) -> Grid:
    """Each cell has two figures: priced with what was just measured, and with what the profile assumes."""
    parts: tuple[Component, ...] = ("Kafka", "Clients", "Lake", "Query")

    def line(label: str, figure: Callable[[Estimate], str]) -> tuple[str, ...]:
        return (label, *(f"{figure(one.measured):>7} | {figure(one.assumed):>7}" for one in priced))

    def rest(found: Estimate) -> float:
        return found.total_monthly_usd - sum(found.by_component().get(part, 0.0) for part in parts)

    def of(part: Component) -> Callable[[Estimate], str]:
        return lambda found: f"{found.by_component().get(part, 0.0):,.0f}"

    rows = [line(part, of(part)) for part in parts]
    rows.append(line("all else", lambda found: f"{rest(found):,.0f}"))
    rows.append(line("USD a month", lambda found: f"{found.total_monthly_usd:,.0f}"))
    rows.append(line("USD a million", lambda found: f"{found.usd_per_million_messages:.4f}"))
    return Grid(
        "a platform's month: as just measured | as its profile assumes",
        ("trades/s", *SCALES),
        tuple(rows),
        f"Extrapolated. List prices of {book.collected}, {book.region}. Line by line: k2ctl cost --scale 1M --measured",
    )
