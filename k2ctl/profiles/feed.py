"""A feed: how foreign records and files become trades, in YAML as profiles are.

The source says what a record looks like, and so which columns there are; every field of a trade is an SQL expression
over them. `k2ctl.feeds` evaluates it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Final, Literal

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from k2ctl.domain.topics import TimeUnit
from k2ctl.errors import ProfileError
from k2ctl.home import shipped
from k2ctl.profiles import strict_yaml
from k2ctl.profiles.loader import file_at, model_of
from k2ctl.profiles.model import SequenceSettings
from k2ctl.profiles.section import Section
from k2ctl.profiles.strict_yaml import Lines

Format = Literal["sbe", "json", "avro", "protobuf", "csv", "ndjson", "parquet", "dbn"]

OF_FILES: Final = ("csv", "ndjson", "parquet", "dbn")
"""Formats of files; the others are of records."""

_WITH_SCHEMA: Final = ("avro", "protobuf", "parquet", "dbn", "sbe")
"""Formats that name their columns themselves."""

Expression = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if isinstance(value, int | float) else value),
    Field(min_length=1, max_length=10_000),
]
"""SQL over the columns of the source, as DuckDB has it."""


def _matching(pattern: str, what: str) -> AfterValidator:
    """Refuse a text that does not match as a whole, and say what it should be."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(what)
        return text

    return AfterValidator(check)


def _is_pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from error
    return text


Name = Annotated[
    str,
    Field(max_length=64),
    _matching(r"[A-Za-z_][A-Za-z0-9_]*", "no plain name: letters, digits and underscores, no digit first"),
]
"""Of a column, as an expression has it without quotes."""

Path_ = Annotated[
    str,
    Field(max_length=1_000),
    _matching(r"""\$(\."[^"]*"|\.[^.\["]+|\[[0-9]+\]|\[\*\])*""", 'no path: $ and then .name, ."a name", [0] or [*]'),
]
"""A path into JSON, as DuckDB has it: `$.data[0].price`."""

Character = Annotated[str, Field(min_length=1, max_length=1)]


class NamesBeside(Section):
    """A CSV file with a header, in the folder of the files: what belongs to a code that their names have."""

    file: Annotated[str, Field(pattern=r"^[^/]+$")]
    # The group of `file_name` that has the code, and the column there that does.
    by: Name
    key: Annotated[str, Field(min_length=1)]
    # Those that become columns.
    columns: tuple[Name, ...]


class Source(Section):
    """What records and files look like."""

    format: Format
    # Of a CSV without a header, in order; of JSON with their paths; the other formats name theirs.
    columns: tuple[Name, ...] | dict[Name, Path_] = ()
    # JSON: columns of the record around its trades.
    record: dict[Name, Path_] = Field(default_factory=dict)
    # JSON: the list of trades in a record; `$`: the record is one trade, though it is an array. Not given: an object is
    # a trade, an array or lines of objects are several.
    trades: Path_ | None = None
    # CSV: whether the first line has names; auto looks.
    header: bool | Literal["auto"] = "auto"
    # CSV: other names for columns, as headers of other years have them.
    aliases: dict[str, Name] = Field(default_factory=dict)
    delimiter: Character = ","
    quote: Character | Literal[""] = '"'
    # A regular expression over the name of a file; its named groups are columns.
    file_name: Annotated[str, AfterValidator(_is_pattern)] | None = None
    # What belongs to a code in the name of a file, in a table beside it.
    names: NamesBeside | None = None
    # Of times that say no offset; without it they are refused.
    zone: str | None = None
    # Of times that are numbers. auto goes by their size: the four do not overlap from 1990 on.
    time_unit: TimeUnit | Literal["auto"] = "auto"
    # The first day (UTC) that a trade may have.
    earliest: Annotated[date, Field(ge=date(1970, 1, 1), lt=date(2262, 1, 1))] = date(1990, 1, 1)
    # The topic's name; what begins with ^ is a regular expression.
    topic: Annotated[str, Field(min_length=1, max_length=249)] | None = None
    # The address of the schema registry.
    registry: str | None = None
    # SBE of others: the file with their XML schema. Relative paths begin at the feed's folder.
    schema_file: str | None = Field(default=None, alias="schema")
    # SBE and Protobuf: the message that is a trade.
    message: str | None = None

    @model_validator(mode="after")
    def _fits_the_format(self) -> "Source":
        if self.format in ("json", "ndjson", "csv") and not self.columns:
            raise ValueError(f"{self.format} needs columns")
        if self.format in _WITH_SCHEMA and self.columns:
            raise ValueError(f"columns are of csv, json and ndjson; {self.format} names its own")
        if self.format == "csv" and isinstance(self.columns, dict):
            raise ValueError("the columns of csv are a list of names, in order")
        if self.trades is None and self.record:
            raise ValueError("record is for trades that a record has under a path: say trades")
        for key, formats in _ONLY_FOR.items():
            if (
                getattr(self, key) != type(self).model_fields[key].get_default(call_default_factory=True)
                and self.format not in formats
            ):
                raise ValueError(f"{key} is for {' and '.join(formats)}, not for {self.format}")
        return self

    @model_validator(mode="after")
    def _names_differ(self) -> "Source":
        names = [*self.columns, *self.record]
        lower = [name.lower() for name in names]
        for at, name in enumerate(names):
            if (first := lower.index(name.lower())) != at:
                raise ValueError(
                    f"columns {names[first]} and {name} are one to SQL: name one otherwise, sent: $.{name}"
                )
        return self

    @field_validator("zone")
    @classmethod
    def _zone_exists(cls, zone: str | None) -> str | None:
        from zoneinfo import ZoneInfo

        if zone is not None:
            try:
                ZoneInfo(zone)
            except (KeyError, ValueError, OSError) as error:
                raise ValueError("no time zone, such as Europe/London") from error
        return zone

    @field_validator("topic")
    @classmethod
    def _topic_is_a_name_or_a_pattern(cls, topic: str | None) -> str | None:
        return _is_pattern(topic) if topic is not None and topic.startswith("^") else topic

    @property
    def is_of_files(self) -> bool:
        """True if files are read, not a topic."""
        return self.format in OF_FILES

    @property
    def paths(self) -> dict[str, str]:
        """Of JSON: the columns of a trade with their paths."""
        return self.columns if isinstance(self.columns, dict) else {name: f"$.{name}" for name in self.columns}

    @property
    def earliest_us(self) -> int:
        """The first moment that a trade may have."""
        return (self.earliest - date(1970, 1, 1)).days * 86_400_000_000


_ONLY_FOR: Final = {
    "record": ("json", "ndjson"),
    "trades": ("json", "ndjson"),
    "header": ("csv",),
    "aliases": ("csv",),
    "delimiter": ("csv",),
    "quote": ("csv",),
    "file_name": OF_FILES,
    "names": OF_FILES,
    "registry": ("avro", "protobuf"),
    "topic": ("sbe", "json", "avro", "protobuf"),
    "schema_file": ("sbe",),
    "message": ("sbe", "protobuf"),
}


class TradeFields(Section):
    """An expression for each field of a trade."""

    symbol: Expression
    exchange: Expression
    asset_class: Expression
    timestamp: Expression
    price: Expression
    quantity: Expression
    currency: Expression = "''"
    side: Expression = "'UNKNOWN'"
    trade_id: Expression = "0"
    source_sequence: Expression | None = None
    trade_conditions: Expression | None = None
    action: Expression = "'NEW'"
    # Of a topic without it: the record's timestamp. Of a file: when it is sent.
    ingestion_timestamp: Expression | None = None
    # A UUID, where `identity` is message-id.
    message_id: Expression | None = None


Identity = tuple[Expression, ...] | Literal["message-id", "look-alikes"]


class Feed(Section):
    """Everything that is said of one feed."""

    description: Annotated[str, Field(min_length=1)]
    # Where the venue describes its layout.
    documentation: str = ""
    source: Source
    trade: TradeFields
    # What a trade is known by, see `k2ctl.feeds.mapping.identity`.
    identity: Annotated[Identity, Field(union_mode="left_to_right")]
    # What a correction or a cancellation refers to, in the same form.
    refers_to: tuple[Expression, ...] = ()
    # Not declared: dense per symbol, and a counter that falls while time goes on starts again.
    sequence: SequenceSettings | None = None
    # Which prints count for bars, as a market's; null is the table of the profile's market.
    conditions: Annotated[str, Field(min_length=1)] | None = None
    # What is not true is no trade.
    where: Expression | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> "Feed":
        if (self.identity == "message-id") != (self.trade.message_id is not None):
            raise ValueError("identity: message-id and trade.message_id belong together")
        if isinstance(self.identity, tuple) and not self.identity:
            raise ValueError("identity has no expression")
        if self.sequence is not None and self.trade.source_sequence is None and self.sequence.numbers != "none":
            raise ValueError("sequence says what trade.source_sequence is, which is not given")
        return self

    @property
    def numbers(self) -> SequenceSettings | None:
        """What the sequence numbers are; without any, none."""
        return self.sequence if self.trade.source_sequence is not None else SequenceSettings(numbers="none")

    def expressions(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Every expression, with the path of its key."""
        for name in TradeFields.model_fields:
            text = getattr(self.trade, name)
            if text is not None:
                yield ("trade", name), text
        if isinstance(self.identity, tuple):
            yield from ((("identity", at), text) for at, text in enumerate(self.identity))
        yield from ((("refers_to", at), text) for at, text in enumerate(self.refers_to))
        if self.where is not None:
            yield ("where",), self.where


@dataclass(frozen=True)
class DeclaredFeed:
    """A feed and where it stands, so that a mistake that shows later names file, line and key."""

    name: str
    # As errors name it.
    place: str
    # The YAML, as it was read.
    text: str
    feed: Feed
    lines: Lines

    @property
    def argument(self) -> str:
        """What names it on a command line."""
        return self.name if Path(self.place).parent == shipped("profiles") / "feeds" else self.place

    def mistake(self, key: tuple[str | int, ...], reason: str) -> ProfileError:
        """An error that names the line of a key."""
        at = key
        while at not in self.lines:
            at = at[:-1]
        dotted = ".".join(map(str, key))
        return ProfileError(f"{self.place}:{self.lines[at]}: {dotted}: {reason}", "Correct that line.")

    def beside(self, path: str) -> Path:
        """A path that the feed names: relative ones begin at its folder."""
        return Path(self.place).parent / Path(path).expanduser()


def text_of(feed: Feed) -> str:
    """A feed that a program has changed, as YAML."""
    return yaml.safe_dump(feed.model_dump(mode="json", by_alias=True, exclude_defaults=True), sort_keys=False)


def feed_names() -> list[str]:
    """The feeds that k2ctl ships."""
    return sorted(path.stem for path in (shipped("profiles") / "feeds").glob("*.yaml"))


def load_feed(name_or_path: str) -> DeclaredFeed:
    """A shipped feed by name, or any file by path.

    Raises:
        ProfileError: there is no such feed, or a mistake in it.
    """
    if name_or_path in feed_names():
        path = shipped("profiles") / "feeds" / f"{name_or_path}.yaml"
    else:
        found = file_at(name_or_path)
        if found is None:
            raise ProfileError(
                f"There is no feed '{name_or_path}', neither shipped nor as a file.",
                "Shipped feeds: k2ctl feed list. A path works too: --feed ./my.yaml. To begin one: k2ctl feed guess",
            )
        path = found
    return feed_of(path.stem, str(path), strict_yaml.read_text(path))


def feed_of(name: str, place: str, text: str) -> DeclaredFeed:
    """A feed of its YAML.

    Raises:
        ProfileError: there is a mistake in it.
    """
    feed, lines = model_of(place, text, Feed)
    return DeclaredFeed(name, place, text, feed, lines)
