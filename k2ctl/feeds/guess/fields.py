"""An expression for each field of a trade, by the names of a sample's columns and by their values."""

import re
from dataclasses import dataclass, field
from typing import Final

from k2ctl.domain.trade import ASSET_CLASSES
from k2ctl.feeds.guess.columns import SampleColumn, side_of
from k2ctl.feeds.guess.names import CORRECTIONS, usual
from k2ctl.feeds.guess.naming import Naming, literal
from k2ctl.feeds.guess.times import moment_of

QUOTES: Final = ("USDT", "USDC", "FDUSD", "BUSD", "TUSD", "USD", "EUR", "GBP", "JPY", "AUD", "KRW", "TRY", "BTC", "ETH")
_VENUES: Final = (
    "binance", "coinbase", "kraken", "bybit", "okx", "hyperliquid", "bitfinex", "bitstamp", "bitmex", "deribit",
    "kucoin", "gemini", "huobi", "gateio", "bitget", "upbit", "nasdaq", "nyse", "xnas", "xnys", "arcx", "cboe", "cme",
    "glbx", "asx", "lse", "xetra", "eurex", "ice", "jpx", "hkex", "tse",
)  # fmt: skip
_CRYPTO: Final = _VENUES[:16]
_OPTION: Final = re.compile(r"[A-Z ]{1,6}\d{6}[CP]\d{8}|.*-\d+-[CP]")
_SYMBOL_IN_NAME: Final = re.compile(r"(?P<symbol>[A-Z0-9]+(\.[A-Z0-9]+)*)")
_DAY_IN_NAME: Final = re.compile(r"(?P<day>\d{4}-?\d{2}-?\d{2})")
_TIED: Final = re.compile(r"[\w.]+[-/][\w.]+(:\w+)?")
_VENUE_BYTES: Final = 16


@dataclass(frozen=True)
class Chosen:
    """What a key of the feed says, and why."""

    text: str
    why: str = ""


@dataclass
class Fields:
    """Expressions for a trade's fields, and the columns that they are of."""

    chosen: dict[str, Chosen] = field(default_factory=dict)
    columns: dict[str, SampleColumn] = field(default_factory=dict)
    # What the name of a file says, of `symbol` and `day`.
    in_name: list[str] = field(default_factory=list)
    zone: Chosen | None = None
    # What nothing in the sample says, so that a person has to.
    open: list[str] = field(default_factory=list)

    @property
    def file_name(self) -> str:
        """`source.file_name`, the pattern that takes these from a file's name; empty without any."""
        day = f".*?{_DAY_IN_NAME.pattern}" if "day" in self.in_name else ""
        symbol = _SYMBOL_IN_NAME.pattern if "symbol" in self.in_name else ""
        return f"{symbol}{day}.*" if symbol or day else ""

    def free(self, columns: list[SampleColumn]) -> list[SampleColumn]:
        """The columns that are of no field yet."""
        used = {id(column) for column in self.columns.values()}
        return [column for column in columns if id(column) not in used]

    def take(self, name: str, column: SampleColumn, text: str, why: str = "") -> None:
        """An expression over a column becomes a field."""
        self.columns[name], self.chosen[name] = column, Chosen(text, why)

    def ask(self, name: str, text: str, why: str) -> None:
        """A constant in the place of what nothing says."""
        self.chosen[name] = Chosen(text, why)
        self.open.append(name)


def fields_of(columns: list[SampleColumn], naming: Naming, origin: str, *, of_files: bool) -> Fields:
    """Choose each field. origin: the name of the file or topic, which may say symbol and venue."""
    fields = Fields()
    _symbol(fields, columns, naming)
    _numbers(fields, columns, naming)
    _times(fields, columns, naming, origin if of_files else "")
    _side(fields, columns, naming)
    _ids(fields, columns, naming)
    _price_and_quantity_by_values(fields, columns, naming)
    _symbol_from_elsewhere(fields, columns, naming, origin, of_files=of_files)
    _market(fields, columns, naming, origin)
    _conditions(fields, columns, naming)
    return fields


def _symbol(fields: Fields, columns: list[SampleColumn], naming: Naming) -> None:
    # A name of one letter may as well be that of a side; the symbol A is one that a tape begins with.
    found = usual("symbol", columns, lambda column: column.is_symbol and not (len(column.key) == 1 and column.is_side))
    if found is not None:
        name = naming.expression(found, "symbol")
        fields.take("symbol", found, f"decode({name})" if found.kind == "BLOB" else name)


def _numbers(fields: Fields, columns: list[SampleColumn], naming: Naming) -> None:
    """Price and quantity. A quantity with a sign says the side."""
    price = usual("price", fields.free(columns), lambda column: column.is_positive)
    if price is not None:
        fields.take("price", price, naming.expression(price, "price"))
    quantity = usual("quantity", fields.free(columns), lambda column: column.is_number)
    if quantity is not None:
        _quantity(fields, quantity, naming)


def _quantity(fields: Fields, quantity: SampleColumn, naming: Naming) -> None:
    name = naming.expression(quantity, "quantity")
    if any(value.startswith("-") for value in quantity.present):
        text = name if quantity.kind == "VARCHAR" else f"CAST({name} AS VARCHAR)"
        fields.take("quantity", quantity, f"ltrim({text}, '-')", "its sign is the side")
        fields.chosen["side"] = Chosen(f"if(starts_with({text}, '-'), 'SELL', 'BUY')", "by the sign of the quantity")
    else:
        fields.take("quantity", quantity, name)


def _times(fields: Fields, columns: list[SampleColumn], naming: Naming, file_name: str) -> None:
    dated = bool(_DAY_IN_NAME.search(file_name))
    moment = moment_of(fields.free(columns), naming, dated=dated)
    if moment is None:
        fields.ask("timestamp", "NULL", "a time")
        return
    if moment.day_in_name:
        fields.in_name.append("day")
    fields.take("timestamp", moment.columns[-1], moment.expression, moment.why)
    if len(moment.columns) > 1:
        fields.columns["day"] = moment.columns[0]
    if moment.needs_zone:
        fields.zone = Chosen("UTC", "the times say none: is it this one?")
        fields.open.append("zone")
    received = usual("received", fields.free(columns), lambda column: column.is_instant)
    if received is not None and (received.is_epoch or received.has_offset or fields.zone):
        fields.take("ingestion_timestamp", received, naming.expression(received, "received"))


def _side(fields: Fields, columns: list[SampleColumn], naming: Naming) -> None:
    if "side" in fields.chosen:
        return
    free = fields.free(columns)
    found = usual("side", free, lambda column: column.is_side)
    nameless = [column for column in free if column.is_nameless and column.is_side and not column.is_number]
    if found is None and nameless:
        found = nameless[0]
    if found is not None:
        fields.take("side", found, *_of_words(found, naming.expression(found, "side")))
        return
    for field_name, (of_true, of_false), why in (
        ("buyer_is_maker", ("SELL", "BUY"), "the aggressor's"),
        ("is_buy", ("BUY", "SELL"), ""),
    ):
        flag = usual(field_name, free, lambda column: column.is_boolean)
        if flag is not None:
            name = naming.expression(flag, "is_buyer_maker" if field_name == "buyer_is_maker" else field_name)
            lowered = name if flag.kind == "BOOLEAN" else f"lower({name})"
            true, false = ("true", "false") if flag.kind == "BOOLEAN" else ("'true'", "'false'")
            text = f"CASE {lowered} WHEN {true} THEN '{of_true}' WHEN {false} THEN '{of_false}' END"
            fields.take("side", flag, text, why)
            return


def _of_words(column: SampleColumn, name: str) -> tuple[str, str]:
    """A column of words for sides; words that are not known stay, so that they are refused."""
    words = {value.strip().lower() for value in column.present}
    if words <= {"buy", "sell", "unknown"}:
        return name, ""
    text = name if column.kind == "VARCHAR" else f"CAST({name} AS VARCHAR)"
    known = _vocabulary(words)
    cases = " ".join(f"WHEN '{word}' THEN '{side}'" for word, side in known.items())
    return f"CASE lower({text}) {cases} ELSE {text} END", "is this what the words mean?"


def _vocabulary(words: set[str]) -> dict[str, str]:
    """Each word that was seen, and those that are usual beside it."""
    beside = {"1", "-1"} if "-1" in words else {"1", "2"} if words & {"1", "2"} else {"buy", "sell"}
    if any(len(word) == 1 and word.isalpha() for word in words):
        beside = {"b", "s", "a", "n"}
    return {word: str(side_of(word)) for word in sorted(words | beside)}


def _ids(fields: Fields, columns: list[SampleColumn], naming: Naming) -> None:
    number = usual("sequence", fields.free(columns), lambda column: column.is_whole)
    if number is not None:
        fields.take("source_sequence", number, naming.expression(number, "sequence"))
    free = fields.free(columns)
    named = usual("trade_id", free, lambda column: column.is_whole or column.is_unique)
    named = named or next((column for column in free if column.is_uuid and column.is_unique), None)
    if named is None:
        return
    if named.is_whole:
        fields.take("trade_id", named, naming.expression(named, "trade_id"))
    else:
        naming.name(named, "trade_id")
        fields.columns["text_id"] = named


def _price_and_quantity_by_values(fields: Fields, columns: list[SampleColumn], naming: Naming) -> None:
    """Where no name says it, the first number with a point is the price, and the next number the quantity."""
    numbers = [column for column in fields.free(columns) if column.is_positive and not column.is_boolean]
    if "price" not in fields.chosen:
        if "trade_id" not in fields.chosen and len(numbers) > 2 and _counts(numbers[0]):
            named = numbers.pop(0)
            fields.take("trade_id", named, naming.expression(named, "trade_id"), "by its values")
        price = next((c for c in numbers if any("." in value for value in c.present)), next(iter(numbers), None))
        if price is None:
            fields.ask("price", "NULL", "a price")
        else:
            numbers = numbers[numbers.index(price) + 1 :]
            fields.take("price", price, naming.expression(price, "price"), "by its values")
    if "quantity" not in fields.chosen:
        if not numbers:
            fields.ask("quantity", "NULL", "a quantity")
            return
        _quantity(fields, numbers[0], naming)
        fields.chosen["quantity"] = Chosen(fields.chosen["quantity"].text, "by its values")


def _counts(column: SampleColumn) -> bool:
    """True if a column may count trades."""
    values = list(map(int, column.present)) if column.is_whole else []
    return bool(values) and column.is_unique and values == sorted(values)


def _symbol_from_elsewhere(
    fields: Fields, columns: list[SampleColumn], naming: Naming, origin: str, *, of_files: bool
) -> None:
    if "symbol" in fields.chosen:
        return
    by_values = [c for c in fields.free(columns) if c.is_symbol and c.every(lambda value: value.upper() == value)]
    telling = [column for column in by_values if column.every(lambda value: len(value) > 2)]
    if telling:
        fields.take("symbol", telling[0], naming.expression(telling[0], "symbol"), "by its values")
    elif of_files and (symbol := symbol_in(origin)):
        fields.in_name.append("symbol")
        fields.chosen["symbol"] = Chosen("symbol", f"from the file's name: {symbol}")
    else:
        fields.ask("symbol", "'SYMBOL'", "nothing says it: say which")


def _market(fields: Fields, columns: list[SampleColumn], naming: Naming, origin: str) -> None:
    """Venue, asset class and currency."""
    symbols = set(fields.columns["symbol"].present) if "symbol" in fields.columns else {symbol_in(origin)}
    venue = usual("exchange", fields.free(columns), _may_be_venue)
    words = set(re.split(r"[\W_]+", origin.lower()))
    known = next((name for name in _VENUES if name in words), "")
    if venue is not None:
        fields.take("exchange", venue, naming.expression(venue, "exchange"))
    elif known:
        fields.chosen["exchange"] = Chosen(literal(known.upper()), "by the name")
    else:
        fields.ask("exchange", "'VENUE'", "nothing says it: say which")
    venues = {value.lower() for value in venue.present} if venue is not None else {known}
    _asset_class(fields, columns, naming, symbols, is_crypto=bool(venues & set(_CRYPTO)))
    _currency(fields, columns, naming, symbols)


def symbol_in(file_name: str) -> str:
    """The symbol that a file's name begins with, in capitals; empty without one."""
    match = _SYMBOL_IN_NAME.match(file_name)
    if match is None or _DAY_IN_NAME.match(file_name) or match["symbol"].isdigit():
        return ""
    return "" if file_name[match.end() : match.end() + 1].islower() else match["symbol"]


def _may_be_venue(column: SampleColumn) -> bool:
    return column.every(lambda value: len(value.encode()) <= _VENUE_BYTES) and not (
        column.is_number or column.is_boolean
    )


def _asset_class(
    fields: Fields, columns: list[SampleColumn], naming: Naming, symbols: set[str], *, is_crypto: bool
) -> None:
    said = [c for c in fields.free(columns) if c.key == "assetclass" and c.every(ASSET_CLASSES.__contains__)]
    if said:
        fields.take("asset_class", said[0], naming.expression(said[0], "asset_class"))
    elif symbols and all(_OPTION.fullmatch(symbol) for symbol in symbols):
        fields.chosen["asset_class"] = Chosen("'options'", "by the symbols")
    elif is_crypto or any(_quote_of(symbol) for symbol in symbols):
        fields.chosen["asset_class"] = Chosen("'crypto'", "by venue or symbols")
    else:
        fields.ask("asset_class", "'equities'", f"of {', '.join(ASSET_CLASSES)}")


def _currency(fields: Fields, columns: list[SampleColumn], naming: Naming, symbols: set[str]) -> None:
    said = usual("currency", fields.free(columns), lambda column: column.every(re.compile(r"\w{2,8}").fullmatch))
    quotes = {_quote_of(symbol) for symbol in symbols}
    if said is not None:
        fields.take("currency", said, naming.expression(said, "currency"))
    elif len(quotes) == 1 and (quote := quotes.pop()):
        fields.chosen["currency"] = Chosen(literal(quote), "what the symbols end with")
    elif "symbol" in fields.columns and symbols and all(_TIED.fullmatch(symbol) for symbol in symbols):
        text = f"regexp_extract({fields.chosen['symbol'].text}, '[-/](\\w+)', 1)"
        fields.chosen["currency"] = Chosen(text, "what the symbols end with")


def _quote_of(symbol: str) -> str:
    """The currency that a symbol of two ends with; empty where none is known."""
    pair = re.split(r"[-/_:]", symbol.upper())
    if len(pair) > 1:
        return pair[1] if pair[1] in QUOTES else ""
    return next((quote for quote in QUOTES if symbol.upper().endswith(quote) and len(symbol) > len(quote) + 1), "")


def _conditions(fields: Fields, columns: list[SampleColumn], naming: Naming) -> None:
    found = usual("conditions", fields.free(columns), lambda column: any(column.present))
    if found is not None:
        fields.take("trade_conditions", found, naming.expression(found, "conditions"))
    correcting = next((column for column in columns if column.key in CORRECTIONS), None)
    if correcting is not None and not correcting.is_constant:
        naming.name(correcting, "correction")
        fields.open.append(f"{naming.name(correcting)} (corrections: see `action` and `refers_to`)")
