"""How each field of a trade is read from flat JSON: its digits by themselves, or by an example of its texts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from k2ctl.feeds.formats.json_parts import steps_of
from k2ctl.feeds.mapping.bound import Bound
from k2ctl.profiles.feed import Feed

DECIMALS: Final = ("price", "quantity")
WHOLES: Final = ("trade_id", "source_sequence")
INSTANTS: Final = {"timestamp": "event_ns", "ingestion_timestamp": "received_ns"}
_UUIDS: Final = ("message_id",)
_BY_DIGITS: Final = frozenset((*DECIMALS, *WHOLES, *INSTANTS, *_UUIDS))


@dataclass(frozen=True)
class FlatPlan:
    """What fields are made of, by the keys of an object."""

    # Fields that are a key's value and nothing else, with the key.
    by_digits: Mapping[str, str]
    # Sets of keys with the fields that are expressions over them, most of them one key and one field.
    by_example: Mapping[tuple[str, ...], tuple[str, ...]]
    # Fields that are a key's text and nothing else, and those that are the same text in every trade, with that text.
    by_text: Mapping[str, str | None]
    # The key of the whole number that identifies a trade; None where `message_id` does.
    number: str | None
    # The keys that `where` is about; None if every record is a trade.
    where: tuple[str, ...] | None
    # Those whose value has to be null.
    absent: tuple[str, ...]
    # Of times that are numbers.
    unit: str


def plan_of(feed: Feed, bound: Mapping[str, Bound]) -> FlatPlan | None:
    """The plan of a feed whose trades are flat objects; None of any other. bound: its expressions over the columns."""
    source, keys = feed.source, dict[str, str]()
    if source.trades is not None or feed.identity == "look-alikes":
        return None
    for name, path in source.paths.items():
        steps = [step.key for step in steps_of(path)]
        if len(steps) != 1 or not isinstance(steps[0], str):
            return None
        keys[name] = steps[0]
    named = {column for one in bound.values() for column in one.columns}
    identity = bound.get("identity_0")
    is_plain = all(one.is_column for name, one in bound.items() if name.startswith("refers_to_"))
    is_number = identity is None or (identity.is_column and "identity_1" not in bound)
    if not (named <= keys.keys() and is_plain and is_number):
        return None
    by_digits, by_example = dict[str, str](), dict[tuple[str, ...], tuple[str, ...]]()
    for name, one in bound.items():
        of = tuple(keys[column] for column in one.columns)
        if name == "where" or name.startswith(("identity_", "refers_to_")):
            continue
        if name in _BY_DIGITS and of:
            if not one.is_column:
                return None
            by_digits[name] = of[0]
        else:
            by_example[of] = (*by_example.get(of, ()), name)
    where = bound.get("where")
    texts = {name for names in by_example.values() for name in names if bound[name].type == "VARCHAR"}
    return FlatPlan(
        by_digits,
        by_example,
        {name: bound[name].constant for name in texts if bound[name].constant is not None or bound[name].is_column},
        None if identity is None else keys[identity.columns[0]],
        None if where is None else tuple(keys[column] for column in where.columns),
        tuple(keys[one.columns[0]] for name, one in bound.items() if name.startswith("refers_to_")),
        source.time_unit,
    )
