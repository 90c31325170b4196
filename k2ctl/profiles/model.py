"""What a profile may say. Frozen, and an unknown key is a mistake."""

from datetime import date
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field, model_validator

from k2ctl.domain.topics import REFERENCE_TABLE, TABLE, TimeUnit, WireFormat, trades_topic
from k2ctl.profiles.external import External
from k2ctl.profiles.lines import LineTopics
from k2ctl.profiles.scale import Scale
from k2ctl.profiles.section import Fraction, PositiveFloat, PositiveInt, Section

if TYPE_CHECKING:
    from k2ctl.domain.wire import RecordFormat

Action = Literal["process", "spill", "shed"]


class Tiers(Section):
    """How many symbols are CRITICAL and HIGH, from the most traded on, and LOW, from the least traded up."""

    critical: Annotated[int, Field(ge=0)]
    high: Annotated[int, Field(ge=0)]
    low: Annotated[int, Field(ge=0)]


class MarketSettings(Section):
    """The synthetic market, and the venue that replays are loaded as."""

    asset_class: Literal["equities", "crypto", "futures", "options"]
    # A part of the topic's name, in lower case there.
    exchange: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,16}$")]
    currency: Annotated[str, Field(pattern=r"^[A-Za-z0-9]{1,8}$")]
    symbols: Annotated[int, Field(ge=1, le=50_000)]
    zipf_exponent: Annotated[float, Field(ge=0, le=3)]
    tiers: Tiers
    seed: Annotated[int, Field(ge=0)]
    # Which prints count for bars: a shipped table or a file; null is the one of asset class and exchange.
    conditions: Annotated[str, Field(min_length=1)] | None = None
    # Whose days `gaps` and bars of a day or more have: a venue's calendar, else a time zone; null is UTC.
    session: Annotated[str, Field(min_length=1)] | None = None
    zone: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _tiers_fit(self) -> "MarketSettings":
        if self.tiers.critical + self.tiers.high + self.tiers.low > self.symbols:
            raise ValueError(f"tiers name more symbols than the {self.symbols} there are")
        return self


NUMBERS: Final = ("dense-per-symbol", "dense-per-channel", "ordered", "none")


class SequenceSettings(Section):
    """What the numbers of a topic's trades are, and so what can be known to be missing."""

    # dense-per-symbol: each symbol's are 1, 2, 3 …. dense-per-channel: those of a channel, over all its symbols, are.
    # ordered: they rise, and may leave some out or come twice. none: they say nothing.
    numbers: Literal["dense-per-symbol", "dense-per-channel", "ordered", "none"] = "dense-per-symbol"
    # What one counter of dense-per-channel counts: the trades of an exchange, or those of a partition of the topic.
    channel: Literal["exchange", "partition"] | None = None
    # What says that the numbers begin at 1 again: nothing, or the first half of the message id.
    session: Literal["none", "message-id"] = "none"

    @model_validator(mode="after")
    def _settings_fit(self) -> "SequenceSettings":
        if self.channel is not None and not self.spans_symbols:
            raise ValueError(f"channel is for numbers: dense-per-channel, not {self.numbers}")
        if self.session != "none" and self.numbers == "none":
            raise ValueError("where there are no numbers, no session starts them again")
        return self

    @property
    def is_dense(self) -> bool:
        """True if a number that is left out is a trade that is missing."""
        return self.numbers.startswith("dense")

    @property
    def spans_symbols(self) -> bool:
        """True if one counter counts the trades of several symbols."""
        return self.numbers == "dense-per-channel"

    @property
    def spans_partitions(self) -> bool:
        """True if one counter counts the trades of several partitions."""
        return self.spans_symbols and self.channel != "partition"

    @property
    def has_sessions(self) -> bool:
        """True if a trade says which session its number is of."""
        return self.session != "none"


class Topic(Section):
    """The topic that trades arrive on, and how its records are written."""

    partitions: Annotated[int, Field(ge=1, le=1024)]
    critical_partitions: Annotated[int, Field(ge=0)]
    retention_hours: PositiveFloat
    format: WireFormat = "sbe"
    # The topic of others, or a regular expression over their names that begins with ^; null is the market's own.
    name: Annotated[str, Field(pattern=r"^(\^.*|[A-Za-z0-9._-]+)$", max_length=249)] | None = None
    # True if whoever fills it puts the trades of a symbol where k2ctl's partitioner does: a query of symbols then reads
    # their partitions alone. Of the market's own topic: where others put a symbol in theirs, nobody knows.
    placed_by_symbol: bool = False
    # The feed that says what the records of others are: a shipped one or a file.
    feed: Annotated[str, Field(min_length=1)] | None = None
    # What times that are whole numbers count, in a topic of JSON: never guessed.
    time_unit: TimeUnit = "us"
    # The first day (UTC) that a trade may have; what is earlier has a time of another unit.
    earliest: Annotated[date, Field(ge=date(1970, 1, 1), lt=date(2262, 1, 1))] = date(1990, 1, 1)
    # Not declared: dense per symbol, and a counter that falls while time goes on starts again.
    sequence: SequenceSettings | None = None
    # Topics that carry the same market, by the name of their line: {A: TOPIC, B: TOPIC}.
    lines: LineTopics = Field(default_factory=dict)

    @model_validator(mode="after")
    def _critical_partitions_fit(self) -> "Topic":
        if self.critical_partitions >= self.partitions:
            raise ValueError("critical_partitions must leave at least one partition for the rest")
        return self

    @model_validator(mode="after")
    def _unit_is_of_json(self) -> "Topic":
        if self.time_unit != "us" and self.format != "json":
            raise ValueError("time_unit is of topics of JSON; times of SBE are nanoseconds")
        return self

    @property
    def is_placed(self) -> bool:
        """True if it is known where a symbol's trades are."""
        return self.placed_by_symbol and self.name is None

    @property
    def earliest_us(self) -> int:
        """The first moment that a trade may have."""
        return (self.earliest - date(1970, 1, 1)).days * 86_400_000_000

    @property
    def written(self) -> "RecordFormat":
        """How `k2ctl load` writes the topic's records."""
        from k2ctl.domain.wire import RecordFormat  # numpy and Arrow, which a bill does without

        return RecordFormat(self.format, self.time_unit)


class Load(Section):
    """The defaults of `k2ctl load`."""

    # Trades per second.
    rate: PositiveInt
    duration_s: PositiveFloat
    # Trades per Kafka record.
    frame: Annotated[int, Field(ge=1, le=1000)]


class Dedup(Section):
    """What deduplication remembers, and the memory that it may take."""

    # How long ids are remembered.
    window_hours: PositiveFloat
    # Ids that are not of a feed session and a sequence, as a consumer gets them on the mean of the window.
    ids_per_s: PositiveInt
    # The part of new ids that cost a look-up in the lake for nothing.
    error_rate: Annotated[float, Field(gt=0, le=0.5)] = 0.001
    # In one Bloom chunk.
    chunk_ids: PositiveInt = 500_000
    # Of all chunks; a plan beyond it is refused.
    budget_mb: PositiveInt
    # Whose trades are compared: those of this consumer's partitions, of the topic, or of all topics of the platform.
    scope: Literal["partition", "topic", "feeds"] = "partition"
    # How long what other consumers stored is known, where the scope is more than a partition's.
    shared_window_minutes: Annotated[float, Field(ge=1, le=1440)] = 60
    # Trades of all consumers of the scope, whatever their ids, on the mean of that window; null is ids_per_s.
    shared_ids_per_s: PositiveInt | None = None
    # Of Redis for them; a plan beyond it is refused.
    shared_budget_mb: PositiveInt = 1024


class ConsumerSettings(Section):
    """How a consumer fetches, buffers and commits."""

    commit_interval_s: PositiveFloat
    # So many rows are committed before the interval is over.
    commit_rows: PositiveInt
    # Records of one call to Kafka.
    fetch_batch: Annotated[int, Field(ge=1, le=1_000_000)]
    # Decoded and not yet committed; beyond it the consumer waits for the commit.
    pending_limit_rows: PositiveInt
    memory_limit_mb: PositiveInt
    dedup: Dedup


class Expire(Section):
    """Which snapshots stay: the last ones by number, then one a minute, then one an hour."""

    keep_last: Annotated[int, Field(ge=10, le=1000)]
    one_a_minute_for_s: PositiveFloat
    one_an_hour_for_s: PositiveFloat


class LakeSettings(Section):
    """Which table it is, and how it is kept small and quick."""

    # Of the trades: a feed of its own profile may have a table of its own.
    table: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$", max_length=128)] = TABLE
    expire: Expire
    # Files of like size in one hour before they are merged into one.
    compact_after_files: Annotated[int, Field(ge=2)]
    # The age at which unreachable files are removed.
    orphans_after_s: PositiveFloat

    @model_validator(mode="after")
    def _table_is_of_trades(self) -> "LakeSettings":
        if self.table == REFERENCE_TABLE:
            raise ValueError("the reference data are in that table")
        return self


class Level(Section):
    """A level: when it is entered, and what is done with each priority there."""

    name: Literal["NORMAL", "SOFT", "GRACEFUL", "AGGRESSIVE", "CIRCUIT_BREAK"]
    # Trades.
    lag: Annotated[int, Field(ge=0)]
    # The used part of the memory limit.
    memory: Fraction
    # The age of the oldest unread trade; null does not count.
    lag_seconds: PositiveFloat | None = None
    enrich: bool
    intake: Literal["open", "closed"]
    CRITICAL: Literal["process"]
    HIGH: Action
    NORMAL: Action
    LOW: Action


class Deferral(Section):
    """How deferred trades are kept and backfilled."""

    # Of the spill files.
    spill_limit_mb: PositiveInt
    # Records, while the level is NORMAL.
    backfill_per_s: PositiveInt
    # Of the 5 MiB that the embedded engine keeps of a partition: while the log since the first trade that is needed is
    # within it, trades are shed there; else, and with 0, they are spilled. Below what backfills them at any level.
    embedded_shed_fraction: Annotated[float, Field(ge=0.0, le=0.4)] = 0.3


class Degradation(Section):
    """The five levels, and when they are left again."""

    deferral: Deferral
    # The lags are divided by it on the embedded engine.
    embedded_divisor: PositiveInt
    # How long a level stays before it gets better.
    cooldown_s: PositiveFloat
    # A level is left below its threshold times this.
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
    """Everything that can be configured of a platform."""

    name: Annotated[str, Field(min_length=1)]
    description: str
    market: MarketSettings
    topic: Topic
    load: Load
    consumer: ConsumerSettings
    lake: LakeSettings
    degradation: Degradation
    # What `k2ctl cost` sizes and prices.
    scale: Scale | None = None
    # The services that others run, for the engine external.
    external: External | None = None

    @property
    def trades_topic(self) -> str:
        """The topic that trades arrive on, or a regular expression over several."""
        return self.topic.name or trades_topic(self.market.asset_class, self.market.exchange)
