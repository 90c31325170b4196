"""Which line had which print, and which had it first."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np

NEVER: Final = int(np.iinfo(np.int64).max)


@dataclass(frozen=True)
class Prints:
    """p prints on some lines.

    received_ns: int64[p, lines], when a line had the print first; NEVER where it lacks it.
    place: int64[p, lines], the position of that arrival.
    arrivals: int64[p, lines], how often the print came on a line.
    """

    received_ns: np.ndarray
    place: np.ndarray
    arrivals: np.ndarray

    @property
    def first_ns(self) -> np.ndarray:
        """int64[p]: when any line had the print first."""
        return np.asarray(self.received_ns.min(axis=1))

    def where(self, mask: np.ndarray) -> "Prints":
        """Those that a boolean mask selects."""
        return Prints(self.received_ns[mask], self.place[mask], self.arrivals[mask])


def prints_of(arrived: np.ndarray, lines: int) -> Prints:
    """The prints of some arrivals (dtype ARRIVAL), all of those that they have; the same print has the same id too."""
    words = arrived["message_id"][:, None].view(np.uint64)
    order = np.lexsort((arrived["received_ns"], arrived["line"], words[:, 1], words[:, 0], arrived["digest"]))
    digest, line, words = arrived["digest"][order], arrived["line"][order], words[order]
    fresh = np.append(True, (digest[1:] != digest[:-1]) | (words[1:] != words[:-1]).any(axis=1))[: len(order)]
    on_line = fresh | np.append(True, line[1:] != line[:-1])[: len(order)]
    number, count = np.cumsum(fresh) - 1, int(fresh.sum())
    received, place = np.full((count, lines), NEVER), np.full((count, lines), -1)
    received[number[on_line], line[on_line]] = arrived["received_ns"][order[on_line]]
    place[number[on_line], line[on_line]] = order[on_line]
    arrivals = np.bincount(number * lines + line, minlength=count * lines).reshape(count, lines)
    return Prints(received, place, arrivals)


@dataclass
class LineShares:
    """What lines had, int64[lines] each."""

    lines: int
    prints: int = 0
    on_all: int = 0
    # On several lines, and on two of them first, at the same moment.
    on_several: int = 0
    tied: int = 0
    trades: np.ndarray = field(init=False)
    repeated: np.ndarray = field(init=False)
    # First, of the prints that are on several lines.
    first: np.ndarray = field(init=False)
    # On no other line.
    alone: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        for name in ("trades", "repeated", "first", "alone"):
            setattr(self, name, np.zeros(self.lines, np.int64))

    def add(self, prints: Prints) -> np.ndarray:
        """Count some prints; returns int64[p, lines]: how long after the first line each had them, or 0."""
        there = prints.arrivals > 0
        having = there.sum(axis=1)
        first_ns = prints.first_ns[:, None]
        is_first = prints.received_ns == first_ns
        alone_first = is_first.sum(axis=1) == 1
        self.prints += len(there)
        self.on_all += int((having == self.lines).sum())
        self.on_several += int((having > 1).sum())
        self.tied += int((~alone_first).sum())
        self.trades += there.sum(axis=0)
        self.repeated += prints.arrivals.sum(axis=0) - there.sum(axis=0)
        self.first += is_first[alone_first & (having > 1)].sum(axis=0)
        self.alone += there[having == 1].sum(axis=0)
        return np.where(there, prints.received_ns - first_ns, 0)
