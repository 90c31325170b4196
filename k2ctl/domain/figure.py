"""A figure is declared once, on the field that holds it: its meaning, its metrics, and how several make one."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from itertools import accumulate
from typing import Any, Final, TypeVar

COMMIT_BOUNDS_S: Final = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SKEW_BOUNDS_S: Final = (0.00001, 0.00003, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 10.0)
"""Of how long after the first line another one has a trade."""

TOPIC: Final = "topic"
"""The label that every metric of a topic begins with; its value comes from the status."""


@dataclass(frozen=True)
class Durations:
    """How long something took, each time."""

    # The upper bounds of the histogram's cells.
    bounds_s: tuple[float, ...] = COMMIT_BOUNDS_S
    # How often a duration fell into each cell; the last one is beyond all bounds.
    counts: tuple[int, ...] = (0,) * (len(COMMIT_BOUNDS_S) + 1)
    # The sum of all durations.
    total_s: float = 0.0

    def plus(self, seconds: float) -> "Durations":
        """With one more."""
        place = bisect_left(self.bounds_s, seconds)
        counts = (*self.counts[:place], self.counts[place] + 1, *self.counts[place + 1 :])
        return replace(self, counts=counts, total_s=self.total_s + seconds)

    def quantile_s(self, share: float) -> float | None:
        """The upper bound of the cell that has the quantile; None where there is none, or it is beyond all bounds."""
        ends = [*accumulate(self.counts)]
        place = bisect_left(ends, share * ends[-1])
        return self.bounds_s[place] if ends[-1] and place < len(self.bounds_s) else None


def merged(found: Sequence[Durations]) -> Durations:
    """All durations of several, with the same bounds, as one."""
    if not found:
        return Durations()
    counts = zip(*(one.counts for one in found), strict=True)
    return Durations(found[0].bounds_s, tuple(map(sum, counts)), sum(one.total_s for one in found))


Number = float | Durations | None
Series = Iterable[tuple[tuple[str, ...], Number]]


@dataclass(frozen=True)
class Metric:
    """A metric of Prometheus."""

    name: str
    # `gauge`, `counter` or `histogram`.
    kind: str
    labels: tuple[str, ...]
    # One sentence; empty: that of the figure.
    meaning: str = ""
    # The figure's value → the values of the labels after `topic`, and the number; None: the value is the number.
    read: Callable[[Any], Series] | None = None
    # How dashboards make one of several instances: `sum`, `max` or `min`; empty: as `figure` has it.
    across: str = ""


def gauge(name: str, *labels: str, **declared: Any) -> Metric:
    """A metric that rises and falls. declared: meaning, read, across."""
    return Metric(name, "gauge", labels, **declared)


def counter(name: str, *labels: str, **declared: Any) -> Metric:
    """A metric that only grows, until the process starts again. declared: meaning, read."""
    return Metric(name, "counter", labels, **declared, across="sum")


def histogram(name: str, *labels: str, **declared: Any) -> Metric:
    """A metric of `Durations`. declared: meaning, read."""
    return Metric(name, "histogram", labels, **declared, across="sum")


def flag(wanted: Callable[[Any], object]) -> Callable[[Any], Series]:
    """1 where the value is as wanted, else 0."""
    return lambda value: [((), float(bool(wanted(value))))]


@dataclass(frozen=True)
class DeclaredFigure:
    """What is declared of a field."""

    # One sentence.
    meaning: str
    metrics: tuple[Metric, ...]
    # The values of several consumers, of the worst level first → that of the platform; None: it has none.
    combine: Callable[[Sequence[Any]], Any] | None
    # True for a figure of the whole table: of the consumers of one topic, only the newest counts.
    of_table: bool


def figure(
    meaning: str,
    *metrics: Metric,
    combine: Callable[[Sequence[Any]], Any] | None = None,
    of_table: bool = False,
    default: Any = MISSING,
    default_factory: Any = MISSING,
) -> Any:
    """A dataclass field that is a figure."""
    across = _ACROSS.get(combine, "sum")
    whole = [replace(one, meaning=one.meaning or meaning, across=one.across or across) for one in metrics]
    declared = DeclaredFigure(meaning, tuple(whole), combine, of_table)
    if default_factory is not MISSING:
        return field(default_factory=default_factory, metadata={"figure": declared})
    return field(default=default, metadata={"figure": declared})


def figures_of(holder: type) -> Iterator[tuple[str, DeclaredFigure]]:
    """The figures of a dataclass by field, in their order."""
    for one in fields(holder):
        if "figure" in one.metadata:
            yield one.name, one.metadata["figure"]


def series_of(holder: Any) -> Iterator[tuple[Metric, tuple[str, ...], Number]]:
    """(metric, values of its labels after `topic`, number) of a dataclass and of the dataclasses that it holds."""
    for name, declared in figures_of(type(holder)):
        value = getattr(holder, name)
        for metric in declared.metrics:
            for labels, number in [((), value)] if metric.read is None else metric.read(value):
                yield metric, labels, number
        if is_dataclass(value) and not isinstance(value, Durations):
            yield from series_of(value)


def combined(holder: type, values: Sequence[Any], of_table: Sequence[Any] | None = None) -> dict[str, Any]:
    """Each figure of several holders as one, by field. of_table: the holders whose figures of the table count."""
    tables = values if of_table is None else of_table
    return {
        name: declared.combine([getattr(one, name) for one in (tables if declared.of_table else values)])
        for name, declared in figures_of(holder)
        if declared.combine is not None
    }


Value = TypeVar("Value")


def first(otherwise: Value) -> Callable[[Sequence[Value]], Value]:
    """That of the consumer with the worst level."""
    return lambda values: values[0] if values else otherwise


def total(values: Sequence[float | None]) -> float | None:
    """The sum; None when one is unknown, or there is none."""
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def oldest(values: Sequence[float | None]) -> float | None:
    """The largest; None when one is unknown, or there is none."""
    known = [value for value in values if value is not None]
    return max(known) if known and len(known) == len(values) else None


def largest_known(values: Sequence[float | None]) -> float | None:
    """The largest of those that are known."""
    return max((value for value in values if value is not None), default=None)


def smallest_known(values: Sequence[float | None]) -> float | None:
    """The smallest of those that are known."""
    return min((value for value in values if value is not None), default=None)


def sum_of_known(values: Sequence[float | None]) -> float | None:
    """The sum of those that are known; None when none is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def largest(values: Sequence[float]) -> float:
    """The largest; 0 where there is none."""
    return max(values, default=0.0)


def first_said(values: Sequence[str]) -> str:
    """The first that is not empty."""
    return next((value for value in values if value), "")


def cell_by_cell(tables: Sequence[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    """Tables of the same shape, added cell by cell."""
    result: dict[str, dict[str, int]] = {}
    for table in tables:
        for row, cells in table.items():
            into = result.setdefault(row, {})
            for column, value in cells.items():
                into[column] = into.get(column, 0) + value
    return result


def field_by_field(values: Sequence[Value], kind: Callable[..., Value]) -> Value:
    """Dataclasses of counts, added field by field."""
    names = [one.name for one in fields(kind)]  # type: ignore[arg-type]
    return kind(**{name: sum(getattr(value, name) for value in values) for name in names})


_ACROSS: Final[dict[Any, str]] = {oldest: "max", largest: "max", largest_known: "max", smallest_known: "min"}
"""How dashboards combine a figure's instances, where that is no sum."""
