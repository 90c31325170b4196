"""Results for scripts and documents: JSON objects, and one neutral table that becomes CSV or Markdown."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from k2ctl.cost.estimate import Comparison, ComponentRow, Difference, Estimate, MonthCost
from k2ctl.cost.lines import Line
from k2ctl.cost.policy import PolicyCost
from k2ctl.cost.scenarios import Swing
from k2ctl.errors import UsageError
from k2ctl.mistakes import first_of


@dataclass(frozen=True)
class Sheet:
    """A table of texts."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    # Columns of numbers.
    right: frozenset[int] = frozenset()
    # Rows that are emphasised.
    bold: frozenset[int] = frozenset()

    def csv(self) -> str:
        """As CSV, with a header."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(self.rows)
        return text.getvalue()

    def markdown(self) -> str:
        """As a Markdown table."""
        rule = tuple("---:" if index in self.right else "---" for index in range(len(self.columns)))
        rows = (
            tuple(f"**{cell}**" for cell in row) if number in self.bold else row for number, row in enumerate(self.rows)
        )
        lines = [self.columns, rule, *rows]
        return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in lines)


def estimate_document(found: Estimate) -> dict[str, Any]:
    """An estimate for `--json`: the fields, and the figures that follow from them. Infeasible: totals are null."""
    works = not found.infeasible
    return {
        "total_monthly_usd": found.total_monthly_usd if works else None,
        "usd_per_million_messages": found.usd_per_million_messages if works else None,
        "usd_per_gb": found.usd_per_gb if works else None,
        "usd_per_symbol_month": found.usd_per_symbol_month if works else None,
        "low_usd": found.low_usd if works else None,
        "high_usd": found.high_usd if works else None,
        "feasible": works,
        "lower_bound": bool(found.not_found),
        "not_found": list(found.not_found),
        **asdict(found),
    }


def read_estimate(document: Mapping[str, Any]) -> Estimate:
    """An estimate from what `--json` printed.

    Raises:
        UsageError: it is something else.
    """
    try:
        values = {field.name: document[field.name] for field in fields(Estimate)}
        return TypeAdapter(Estimate).validate_python(values)
    except KeyError as error:
        raise _no_estimate(f"there is no {error}") from error
    except ValidationError as error:
        raise _no_estimate(first_of(error)) from error


def _no_estimate(why: str) -> UsageError:
    return UsageError(f"Not an estimate: {why}", "Save one with: k2ctl cost --scale 1M --json")


def lines_named(found: Estimate, name: str) -> list[Line]:
    """The lines of a component, or those whose name has the text in it.

    Raises:
        UsageError: there are none.
    """
    text = name.lower()
    for fits in (lambda line: line.component.lower() == text, lambda line: text in line.name):
        lines = [line for line in found.lines if fits(line)]
        if lines:
            return lines
    raise UsageError(f"There is no line '{name}'.", f"Lines: {', '.join(line.name for line in found.lines)}")


def lines_sheet(lines: Sequence[Line]) -> Sheet:
    """A row a line."""
    rows = tuple(
        (line.component, line.name, line.title, f"{line.quantity:.6g}", line.unit, _price(line), _usd(line.monthly_usd),
         line.date, line.confidence)
        for line in lines
    )  # fmt: skip
    columns = ("component", "line", "what", "quantity", "unit", "USD per unit", "USD a month", "price of", "confidence")
    return Sheet(columns, rows, frozenset({3, 5, 6}))


def estimate_sheet(found: Estimate) -> Sheet:
    """Every line, and the total."""
    sheet = lines_sheet(found.lines)
    total = ("Total", "", "", "", "", "", _usd(found.total_monthly_usd), found.prices_collected, "")
    return replace(sheet, rows=(*sheet.rows, total))


def comparison_sheet(comparison: Comparison) -> Sheet:
    """Components by profile, then totals and unit costs."""
    found = comparison.estimates
    rows = [(row.component, *(_component_text(row, index) for index in range(len(found)))) for row in comparison.rows]
    rows = [tuple("" if index and found[index - 1].infeasible else cell for index, cell in enumerate(r)) for r in rows]
    rows += [
        ("Total, USD a month", *(_total(each) for each in found)),
        _row("Low to high", found, _range),
        _row("USD per million messages", found, lambda each: f"{_at_least(each)}{each.usd_per_million_messages:.4f}"),
        _row("USD per GB of trades", found, lambda each: f"{_at_least(each)}{each.usd_per_gb:.4f}"),
        _row("USD per symbol and month", found, lambda each: f"{_at_least(each)}{each.usd_per_symbol_month:.2f}"),
    ]
    columns, total = ("", *(each.profile for each in found)), frozenset([len(comparison.rows)])
    return Sheet(columns, tuple(rows), frozenset(range(1, len(found) + 1)), total)


def _component_text(row: ComponentRow, index: int) -> str:
    if row.complete[index]:
        return f"{row.usd[index]:,.0f}"
    return f"≥ {row.usd[index]:,.0f}" if row.usd[index] else "not found"


def _row(name: str, found: Sequence[Estimate], text: Callable[[Estimate], str]) -> tuple[str, ...]:
    return (name, *("" if each.infeasible else text(each) for each in found))


def difference_sheet(found: Difference) -> Sheet:
    """Line against line."""
    rows = [
        (change.mark.strip(), change.name, change.before, change.after, _usd(change.before_usd), _usd(change.after_usd),
         f"{change.usd:+.2f}")
        for change in found.changes
    ]  # fmt: skip
    totals = (_usd(found.before.total_monthly_usd), _usd(found.after.total_monthly_usd), f"{found.usd:+.2f}")
    columns = ("", "line", "before", "after", "USD before", "USD after", "USD more")
    return Sheet(columns, (*rows, ("", "Total", "", "", *totals)), frozenset({4, 5, 6}))


def difference_document(found: Difference) -> dict[str, Any]:
    """A difference for `--json`."""
    return {
        "usd": found.usd,
        "before": estimate_document(found.before),
        "after": estimate_document(found.after),
        "changes": [{**asdict(change), "usd": change.usd} for change in found.changes],
    }


def policy_document(found: PolicyCost) -> dict[str, Any]:
    """The degradation policy for `--json`."""
    derived = {"shedding_usd": found.shedding_usd, "saves_usd": found.saves_usd, "worth_it": found.worth_it}
    return {**asdict(found), **derived}


def policy_sheet(found: PolicyCost) -> Sheet:
    """The degradation policy, a figure a row."""
    return Sheet(("figure", "value"), tuple((name, _text(value)) for name, value in policy_document(found).items()))


def sensitivity_sheet(swings: Sequence[Swing]) -> Sheet:
    """Inputs and the totals at both their values."""
    rows = tuple((s.key, s.low_value, s.high_value, _usd(s.low_usd), _usd(s.high_usd)) for s in swings)
    return Sheet(("input", "from", "to", "USD at from", "USD at to"), rows, frozenset({1, 2, 3, 4}))


def months_sheet(months: Sequence[MonthCost]) -> Sheet:
    """Month by month, by component."""
    names = tuple(months[0].by_component)
    rows = tuple(
        (str(month.month), *(_usd(month.by_component[name]) for name in names), _usd(month.total_monthly_usd))
        for month in months
    )
    columns = ("month", *names, "total")
    return Sheet(columns, rows, frozenset(range(len(columns))))


def _price(line: Line) -> str:
    return "not found" if line.unit_price is None else f"{line.unit_price:.6g}"


def _usd(amount: float | None) -> str:
    return "not found" if amount is None else f"{amount:.2f}"


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "" if value is None else str(value)


def _total(found: Estimate) -> str:
    if found.infeasible:
        return "infeasible"
    return f"{_at_least(found)}{found.total_monthly_usd:,.0f}"


def _range(found: Estimate) -> str:
    return f"{found.low_usd:,.0f} – {'not known' if found.high_usd is None else f'{found.high_usd:,.0f}'}"


def _at_least(found: Estimate) -> str:
    return "≥ " if found.not_found else ""
