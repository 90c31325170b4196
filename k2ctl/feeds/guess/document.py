"""A guessed feed as YAML, with a comment at each line that was concluded."""

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import yaml

from k2ctl.errors import K2Error
from k2ctl.feeds.guess.columns import SampleColumn
from k2ctl.feeds.guess.fields import Chosen, Fields, fields_of
from k2ctl.feeds.guess.identity import identify, number
from k2ctl.feeds.guess.naming import Kept, Naming, literal
from k2ctl.profiles.feed import Format, TradeFields

_WIDTH: Final = 110
_FEW: Final = 10
_REQUIRED: Final = ("price", "quantity", "timestamp")
_ORDER: Final = (*TradeFields.model_fields,)


@dataclass(frozen=True)
class FeedSample:
    """Some trades of a file or a topic, as columns."""

    # The name of the file, without its folder, or of the topic.
    origin: str
    format: Format
    # All of one length.
    columns: list[SampleColumn]
    # Of the records around the trades.
    record: list[SampleColumn] = field(default_factory=list)
    # Of `source`, beside format and columns.
    settings: Mapping[str, Any] = field(default_factory=dict)
    # True if the file's first line has the names.
    header: bool = True
    # True if files are read.
    of_files: bool = True
    # Good to know of the sample.
    remarks: Sequence[str] = ()

    @property
    def count(self) -> int:
        """How many trades."""
        return len(self.columns[0].values) if self.columns else 0

    def where(self, kept: Sequence[bool]) -> "FeedSample":
        """Those trades that a mask keeps."""

        def of(columns: list[SampleColumn]) -> list[SampleColumn]:
            return [
                replace(column, values=tuple(v for v, wanted in zip(column.values, kept, strict=True) if wanted))
                for column in columns
            ]

        return replace(self, columns=of(self.columns), record=of(self.record))


@dataclass(frozen=True)
class Concluded:
    """A feed of a sample."""

    # YAML.
    text: str
    # What a person has to say.
    open: tuple[str, ...]


class NoTrades(K2Error):
    """Nothing in a sample looks like a field that every trade has."""


def document_of(sample: FeedSample) -> Concluded:
    """A feed of a sample, as YAML that `load_feed` reads.

    Raises:
        NoTrades: no column looks like a price, a quantity or a time.
    """
    fields, naming = _fields(sample)
    others = _not_trades(sample, fields)
    where = None
    if others is not None:
        mask, test = others
        sample = sample.where(mask)
        fields, naming = _fields(sample)
        column = next(c for c in [*sample.columns, *sample.record] if (c.path or c.name) == test[0])
        values = ", ".join(map(literal, test[1]))
        name = naming.expression(column, "kind")
        where = Chosen(f"{name} = {values}" if len(test[1]) == 1 else f"{name} IN ({values})", "others are no trades")
    missing = [fields.chosen[name].why for name in _REQUIRED if fields.chosen[name].text == "NULL"]
    if missing or not any(naming.named(column) for column in sample.columns):
        raise _nothing(sample, missing or ["a trade"])
    numbers = number(fields, naming)
    identity = identify(fields, naming)
    blocks = [
        *_head(sample, fields),
        "source:",
        *_source(sample, fields, naming),
        "trade:",
        *_lines({name: fields.chosen[name] for name in _ORDER if name in fields.chosen}),
        _line("identity", identity.text, identity.why),
    ]
    if numbers is not None:
        blocks.append(_line("sequence", f"{{numbers: {numbers.kind}}}", numbers.why))
    if where is not None:
        blocks.append(_line("where", _scalar(where.text), where.why))
    return Concluded("\n".join(blocks) + "\n", tuple(fields.open))


def _fields(sample: FeedSample) -> tuple[Fields, Naming]:
    columns = [*sample.columns, *sample.record]
    kept: Kept = "telling" if sample.format in ("json", "ndjson") or not sample.header else "plain"
    naming = Naming(columns, kept if sample.format in ("json", "ndjson", "csv") else "all")
    fields = fields_of(columns, naming, sample.origin, of_files=sample.of_files)
    return fields, naming


def _nothing(sample: FeedSample, missing: list[str]) -> NoTrades:
    names = ", ".join((column.path or column.name) for column in [*sample.columns, *sample.record][:20]) or "none"
    return NoTrades(
        f"Nothing in {sample.origin} looks like {' or '.join(missing)}. Its columns: {names}",
        "Write the feed by hand, from one that is like it: k2ctl feed list; k2ctl feed show NAME",
    )


def _not_trades(sample: FeedSample, fields: Fields) -> tuple[list[bool], tuple[str, list[str]]] | None:
    """Which rows are trades, where some lack what every trade has, and the column and values that say so."""
    required = [fields.columns[name].values for name in _REQUIRED if name in fields.columns]
    mask = [all(row) for row in zip(*required, strict=True)]
    if not required or all(mask) or not any(mask):
        return None
    used = {id(column) for name, column in fields.columns.items() if name in (*_REQUIRED, "symbol", "trade_id")}
    for column in [*sample.columns, *sample.record]:
        trades = {value for value, is_trade in zip(column.values, mask, strict=True) if is_trade}
        rest = {value for value, is_trade in zip(column.values, mask, strict=True) if not is_trade}
        says = id(column) not in used and len(trades) <= _FEW and not trades & (rest | {None, ""})
        if says:
            return mask, (column.path or column.name, sorted(map(str, trades)))
    return None


def _head(sample: FeedSample, fields: Fields) -> Iterator[str]:
    what = "trade" if sample.count == 1 else "trades"
    yield f"# Guessed from {sample.count:,} {what}. Look at every line, the comments say why."
    for remark in sample.remarks:
        yield f"# {remark}"
    if fields.open:
        yield f"# To be said by you: {', '.join(fields.open)}."
    yield f"description: {_scalar(f'Trades of {sample.origin}')}"


def _source(sample: FeedSample, fields: Fields, naming: Naming) -> Iterator[str]:
    yield _line("format", sample.format, indent="  ")
    yield from _columns(sample, naming)
    for key, value in sample.settings.items():
        yield _line(key, _scalar(value), indent="  ")
    if fields.file_name:
        yield _line("file_name", _scalar(fields.file_name), indent="  ")
    if fields.zone is not None:
        yield _line("zone", fields.zone.text, fields.zone.why, "  ")


def _columns(sample: FeedSample, naming: Naming) -> Iterator[str]:
    if sample.format == "csv":
        names = [naming.name(column, f"column{at}") for at, column in enumerate(sample.columns, 1)]
        yield from _listing("columns", names)
        if sample.header:
            differ = {c.name: name for c, name in zip(sample.columns, names, strict=True) if c.name != name}
            yield from _mapping("aliases", differ)
    elif sample.format in ("json", "ndjson"):
        paths = {naming.name(column): column.path for column in sample.columns if naming.named(column) and column.path}
        if all(path == f"$.{name}" for name, path in paths.items()):
            yield from _listing("columns", list(paths))
        else:
            yield from _mapping("columns", paths)
        yield from _mapping("record", {naming.name(c): c.path for c in sample.record if naming.named(c) and c.path})


def _listing(key: str, names: Sequence[str]) -> Iterator[str]:
    text = f"  {key}: [{', '.join(names)}]"
    yield from (
        textwrap.wrap(text, _WIDTH, initial_indent="", subsequent_indent="    ", break_long_words=False)
        if len(text) > _WIDTH
        else [text]
    )


def _mapping(key: str, texts: Mapping[str, str]) -> Iterator[str]:
    if texts:
        yield f"  {key}:"
        yield from (f"    {_scalar(name)}: {_scalar(text)}" for name, text in texts.items())


def _lines(chosen: Mapping[str, Chosen]) -> Iterator[str]:
    for name, one in chosen.items():
        yield _line(name, _scalar(one.text), one.why, "  ")


def _line(key: str, text: str, why: str = "", indent: str = "") -> str:
    return f"{indent}{key}: {text}" + (f"  # {why}" if why else "")


def _scalar(value: Any) -> str:
    """A value as YAML writes it on one line."""
    if isinstance(value, str) and "'" in value:
        return json.dumps(value, ensure_ascii=False)
    text: str = yaml.safe_dump(value, width=100_000, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")
