"""What is wrong with a value that pydantic refuses, in our own words: they are the same in profiles, feeds and HTTP."""

from collections.abc import Mapping
from typing import Any, Final

_NUMBER: Final = "a number is needed"
_WHOLE: Final = "a whole number is needed"
_LIST: Final = "a list is needed"
_SECTION: Final = "a section is needed"
_TEXT: Final = "a text is needed"
_TIME: Final = "a time such as 2026-11-30T10:00:00Z is needed"
_SAID: Final = {
    "missing": "this is missing",
    "extra_forbidden": "unknown key",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "finite_number": "a finite number is needed",
    "too_short": "at least {min_length} are needed",
    "too_long": "at most {max_length} are possible",
    "string_too_short": "at least {min_length} characters are needed",
    "string_too_long": "at most {max_length} characters are possible",
    "string_pattern_mismatch": "must match {pattern}",
    "enum": "one of {expected} is needed",
    "literal_error": "one of {expected} is needed",
    "union_tag_invalid": "one of {expected_tags} is needed",
    "union_tag_not_found": "{discriminator} is missing",
    **dict.fromkeys(("tuple_type", "list_type", "set_type", "frozen_set_type", "iterable_type"), _LIST),
    **dict.fromkeys(("dict_type", "mapping_type", "model_type", "model_attributes_type", "dataclass_type"), _SECTION),
    **dict.fromkeys(("string_type", "string_unicode"), _TEXT),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false is needed"),
    **dict.fromkeys(("int_type", "int_parsing", "int_parsing_size", "int_from_float"), _WHOLE),
    **dict.fromkeys(("float_type", "float_parsing", "decimal_type", "decimal_parsing"), _NUMBER),
    **dict.fromkeys(("date_type", "date_parsing", "date_from_datetime_parsing"), "a date such as 2026-11-30 is needed"),
    **dict.fromkeys(("datetime_type", "datetime_parsing", "datetime_from_date_parsing"), _TIME),
    **dict.fromkeys(("uuid_type", "uuid_parsing"), "an id such as 7f9c2ba4-e88f-427d-8a3b-0d1f2e3c4b5a is needed"),
}
_OURS: Final = ("Value error, ", "Assertion failed, ")
"""How pydantic begins what a check of ours has said."""


def said(mistake: Mapping[str, Any]) -> str:
    """One of a ValidationError's `errors()`, without the value and its place."""
    template = _SAID.get(mistake["type"])
    if template is not None:
        limits = mistake.get("ctx", {})
        return template.format_map({name: _plain(value) for name, value in limits.items()})
    for begin in _OURS:
        if mistake["msg"].startswith(begin):
            return str(mistake["msg"].removeprefix(begin))
    # Pydantic's own kinds have a page of its manual; errors that a check of ours has made have none.
    return "something else is needed" if "url" in mistake else str(mistake["msg"])


def _plain(limit: object) -> object:
    """A limit as a person writes it: 0 and not 0.0."""
    return int(limit) if isinstance(limit, float) and limit.is_integer() else limit


def first_of(error: Any) -> str:
    """The first mistake that a ValidationError holds: its place, and what is wrong there."""
    mistake = error.errors()[0]
    place = ".".join(map(str, mistake["loc"]))
    return f"{place}: {said(mistake)}" if place else said(mistake)
