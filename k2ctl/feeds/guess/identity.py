"""What identifies a trade of a sample."""

from collections.abc import Iterable, Sequence

from k2ctl.feeds.check.numbers import SeenNumbers, numbers_of
from k2ctl.feeds.guess.fields import Chosen, Fields
from k2ctl.feeds.guess.naming import Naming


def identify(fields: Fields, naming: Naming) -> Chosen:
    """The identity of trades, as YAML writes it."""
    symbols = _symbols(fields)
    for name in ("trade_id", "text_id", "source_sequence"):
        column = fields.columns.get(name)
        if column is None:
            continue
        rows = set(zip(symbols, column.values, *_of_print(fields), strict=True))
        if None not in column.values and len({row[:2] for row in rows}) == len(rows):
            every = len(column.values) - len(rows)
            why = "no two trades of a symbol have the same" + (f"; {every} are there twice" if every else "")
            why = why if len(rows) > 1 else "there is one trade only"
            return Chosen(f"[{_listed(naming.expression(column))}]", why)
    return Chosen("look-alikes", "no column identifies a trade")


def _listed(expression: str) -> str:
    return f"'{expression}'" if expression.startswith('"') else expression


def _of_print(fields: Fields) -> Iterable[Sequence[str | None]]:
    """What a trade that was sent twice has in common with itself."""
    return (fields.columns[name].values for name in ("price", "quantity", "timestamp") if name in fields.columns)


def _symbols(fields: Fields) -> Sequence[str | None]:
    column = fields.columns.get("symbol")
    if column is not None:
        return column.values
    return [""] * len(next(iter(fields.columns.values())).values)


def number(fields: Fields, naming: Naming) -> SeenNumbers | None:
    """What the sequence numbers are; trade ids that are dense are numbers, too. None where there are none."""
    symbols = _symbols(fields)
    column = fields.columns.get("source_sequence")
    if column is None:
        ids = fields.columns.get("trade_id")
        found = numbers_of(symbols, ids.values) if ids is not None else None
        if ids is None or found is None or found.kind != "dense-per-symbol":
            return None
        fields.chosen["source_sequence"] = Chosen(naming.expression(ids), "the ids are dense")
        return found
    found = numbers_of(symbols, column.values)
    if found is None:
        del fields.chosen["source_sequence"], fields.columns["source_sequence"]
    return found
