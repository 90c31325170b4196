"""Where a service of the tests runs, and how a program is started there."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Place:
    """An address, and what stands before the command line of a program that is to run there."""

    address: str
    command: tuple[str, ...] = ()


LOOPBACK: Final = Place("127.0.0.1")
