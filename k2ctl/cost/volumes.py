"""How much there is: trades, bytes and days, from the profile. Pure arithmetic; units come last in every name."""

from dataclasses import dataclass

from k2ctl.cost.capacity import DAYS_PER_MONTH, GIB, MIB, SECONDS_PER_MONTH
from k2ctl.profiles.model import Profile
from k2ctl.profiles.scale import Scale, Workload


@dataclass(frozen=True)
class Volumes:
    """The load in a month of 730 hours. Rates apply while the market is open; GiB are 2^30 bytes."""

    trades: float
    wire_bytes_per_trade: float
    parquet_bytes_per_trade: float
    # Uncompressed.
    payload_bytes: float
    average_mib_s: float
    peak_mib_s: float
    # What producers write, on the wire, once.
    ingress_gib: float
    parquet_gib: float
    # What retention keeps, one copy.
    kafka_gib: float


def volumes_of(profile: Profile, scale: Scale) -> Volumes:
    """Trades = rate × seconds of a month × the share of it that the market is open."""
    workload = scale.workload
    trades = workload.average_rate * SECONDS_PER_MONTH * open_share(workload)
    wire = wire_bytes_per_trade(workload, profile.load.frame)
    parquet = workload.parquet_bytes_per_trade or workload.trade_bytes / workload.parquet_ratio
    hours = open_hours_within(workload, profile.topic.retention_hours)
    return Volumes(
        trades=trades,
        wire_bytes_per_trade=wire,
        parquet_bytes_per_trade=parquet,
        payload_bytes=trades * workload.trade_bytes,
        average_mib_s=workload.average_rate * wire / MIB,
        peak_mib_s=workload.average_rate * workload.peak_factor * wire / MIB,
        ingress_gib=trades * wire / GIB,
        parquet_gib=trades * parquet / GIB,
        kafka_gib=workload.average_rate * wire * hours * 3600 / GIB,
    )


def open_share(workload: Workload) -> float:
    """The part of the week that the market is open."""
    return workload.hours_per_day / 24 * workload.days_per_week / 7


def wire_bytes_per_trade(workload: Workload, trades_per_record: int) -> float:
    """(trade + its share of the record's framing) / compression, unless it was measured."""
    framed = workload.trade_bytes + workload.record_overhead_bytes / trades_per_record
    return workload.wire_bytes_per_trade or framed / workload.wire_ratio


def open_hours_within(workload: Workload, window_hours: float) -> float:
    """The most market hours that any window of this length can have: whole weeks, then days, then the rest."""
    days, rest_hours = divmod(window_hours, 24)
    weeks, odd_days = divmod(days, 7)
    sessions = weeks * workload.days_per_week + min(odd_days, workload.days_per_week)
    begun = min(rest_hours, workload.hours_per_day) if odd_days < workload.days_per_week else 0.0
    return sessions * workload.hours_per_day + begun


def days_held(from_day: float, days: float, month: int | None) -> float:
    """Days of data in a tier that takes data at the age of `from_day` and keeps it for `days`, averaged over a month.

    The tier fills up day by day: month 1 of a tier of 30 days has half of it on average. None is the steady state.
    """
    if month is None:
        return days
    begin, end = (month - 1) * DAYS_PER_MONTH, month * DAYS_PER_MONTH
    return (_filled(end - from_day, days) - _filled(begin - from_day, days)) / DAYS_PER_MONTH


def days_moved(from_day: float, month: int | None) -> float:
    """How many days' data reach the age of `from_day` in a month, and so move to the next tier."""
    if month is None:
        return DAYS_PER_MONTH
    return min(DAYS_PER_MONTH, max(0.0, month * DAYS_PER_MONTH - from_day))


def _filled(elapsed_days: float, days: float) -> float:
    """The integral of min(t, days) from 0 to `elapsed_days`."""
    if elapsed_days <= 0:
        return 0.0
    ramp = min(elapsed_days, days)
    return ramp * ramp / 2 + days * (elapsed_days - ramp)
