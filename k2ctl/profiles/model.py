"""What a profile may say. Frozen, and an unknown key is a mistake."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from k2ctl.domain.topics import WireFormat
from k2ctl.profiles.external import External
from k2ctl.profiles.scale import Scale
from k2ctl.profiles.section import Fraction, PositiveFloat, PositiveInt, Section

Action = Literal["process", "spill", "shed"]


class Tiers(Section):
    """How many symbols are CRITICAL and HIGH, from the most traded on, and LOW, from the least traded up."""

    critical: Annotated[int, Field(ge=0)]
    high: Annotated[int, Field(ge=0)]
    low: Annotated[int, Field(ge=0)]


class MarketSettings(Section):
    """The synthetic market, and the venue that replays are loaded as."""

    asset_class: Literal["equities", "crypto", "futures", "options"]
    exchange: Annotated[str, Field(pattern=r"^[A-Z0-9]{1,8}$")]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    symbols: Annotated[int, Field(ge=1, le=50_000)]
    zipf_exponent: Annotated[float, Field(ge=0, le=3)]
    tiers: Tiers
    seed: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _tiers_fit(self) -> "MarketSettings":
        if self.tiers.critical + self.tiers.high + self.tiers.low > self.symbols:
            raise ValueError(f"tiers name more symbols than the {self.symbols} there are")
        return self


class Topic(Section):
    """The topic that trades arrive on, and how its records are written."""

    partitions: Annotated[int, Field(ge=1, le=1024)]
    critical_partitions: Annotated[int, Field(ge=0)]
    retention_hours: PositiveFloat
    format: WireFormat = "sbe"

    @model_validator(mode="after")
    def _lanes_fit(self) -> "Topic":
        if self.critical_partitions >= self.partitions:
            raise ValueError("critical_partitions must leave at least one partition for the rest")
        return self


class Load(Section):
    """What `k2ctl load` does when it is not told otherwise. rate: trades per second."""

    rate: PositiveInt
    duration_s: PositiveFloat
    frame: Annotated[int, Field(ge=1, le=1000)]


class Dedup(Section):
    """What deduplication remembers, and may take.

    ids_per_s: ids that are not of a feed session and a sequence, as a consumer gets them on the mean of the window.
    error_rate: of ids that cost a look-up in the lake for nothing. chunk_ids: ids in one Bloom chunk.
    """

    window_hours: PositiveFloat
    ids_per_s: PositiveInt
    error_rate: Annotated[float, Field(gt=0, le=0.5)] = 0.001
    chunk_ids: PositiveInt = 500_000
    budget_mb: PositiveInt


class ConsumerSettings(Section):
    """How a consumer fetches, holds and commits."""

    commit_interval_s: PositiveFloat
    commit_rows: PositiveInt
    fetch_batch: Annotated[int, Field(ge=1, le=1_000_000)]
    pending_limit_rows: PositiveInt
    memory_limit_mb: PositiveInt
    dedup: Dedup


class Expire(Section):
    """Which snapshots stay: the last ones by number, then one a minute, then one an hour. Ages in seconds."""

    keep_last: Annotated[int, Field(ge=10, le=1000)]
    one_a_minute_for_s: PositiveFloat
    one_an_hour_for_s: PositiveFloat


class LakeSettings(Section):
    """How the table is kept small and quick."""

    expire: Expire
    compact_after_files: Annotated[int, Field(ge=2)]
    orphans_after_s: PositiveFloat


class Level(Section):
    """One rung of the ladder: when it is entered, and what becomes of each priority there."""

    name: Literal["NORMAL", "SOFT", "GRACEFUL", "AGGRESSIVE", "CIRCUIT_BREAK"]
    lag: Annotated[int, Field(ge=0)]
    memory: Fraction
    lag_seconds: PositiveFloat | None = None
    enrich: bool
    intake: Literal["open", "closed"]
    CRITICAL: Literal["process"]
    HIGH: Action
    NORMAL: Action
    LOW: Action


class Deferral(Section):
    """What is deferred. spill_limit_mb: what spill files may take on disk. backfill_per_s: records read a second."""

    spill_limit_mb: PositiveInt
    backfill_per_s: PositiveInt


class Degradation(Section):
    """The five levels, and when they are left again. Design, section 5."""

    deferral: Deferral
    embedded_divisor: PositiveInt
    cooldown_s: PositiveFloat
    exit_factor_lag: Annotated[float, Field(gt=0, lt=1)]
    exit_factor_memory: Annotated[float, Field(gt=0, lt=1)]
    levels: tuple[Level, Level, Level, Level, Level]

    @model_validator(mode="after")
    def _levels_rise(self) -> "Degradation":
        names = [level.name for level in self.levels]
        if names != ["NORMAL", "SOFT", "GRACEFUL", "AGGRESSIVE", "CIRCUIT_BREAK"]:
            raise ValueError(f"levels must be NORMAL, SOFT, GRACEFUL, AGGRESSIVE, CIRCUIT_BREAK, not {names}")
        for lower, upper in zip(self.levels, self.levels[1:], strict=False):
            if upper.lag <= lower.lag or upper.memory <= lower.memory:
                raise ValueError(f"{upper.name} must be entered at more lag and memory than {lower.name}")
        return self


class Profile(Section):
    """Everything that k2ctl can be told about a platform.

    scale: what it costs to run; `k2ctl cost` needs it. external: where it is; `stack up --engine external` needs it.
    """

    name: Annotated[str, Field(min_length=1)]
    description: str
    market: MarketSettings
    topic: Topic
    load: Load
    consumer: ConsumerSettings
    lake: LakeSettings
    degradation: Degradation
    scale: Scale | None = None
    external: External | None = None
