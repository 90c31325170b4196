"""What is wrong with a value is said in our words: pydantic's reach nobody."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, ValidationError
from pydantic_core import PydanticCustomError, PydanticKnownError
from pydantic_core._pydantic_core import list_all_errors  # what pydantic can say at all

from k2ctl.errors import first_line
from k2ctl.mistakes import said

ALL: list[Any] = list_all_errors()
PYDANTIC = ("Input", "should", "valid ", "Field ", "validation", "unable", "String", "Decimal", "parse")


class Model(BaseModel):
    """Of each kind that profiles, feeds and price books use."""

    count: Annotated[int, Field(gt=0, le=5)] = 1
    share: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.5
    engine: Literal["embedded", "local"] = "local"
    names: tuple[str, ...] = Field((), max_length=2)
    section: dict[str, int] = Field(default_factory=dict)
    text: str = Field("abc", min_length=2, max_length=4, pattern="^[a-z]+$")
    flag: bool = True


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind["type"])
def test_nothing_that_pydantic_can_say_is_shown(kind: Any) -> None:
    context = dict(kind.get("example_context") or {})
    if kind["type"] in ("value_error", "assertion_error"):
        context = {"error": ValueError("no venue")}
    error = PydanticKnownError(kind["type"], context or None)
    mistake = {"type": kind["type"], "msg": error.message(), "ctx": context, "url": "https://errors.pydantic.dev"}
    assert not [word for word in PYDANTIC if word in said(mistake)]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"count": 0}, "count: must be greater than 0"),
        ({"count": 9}, "count: must be at most 5"),
        ({"count": "many"}, "count: a whole number is needed"),
        ({"share": float("nan")}, "share: must be at least 0"),
        ({"share": "x"}, "share: a number is needed"),
        ({"engine": "toaster"}, "engine: one of 'embedded' or 'local' is needed"),
        ({"names": 5}, "names: a list is needed"),
        ({"names": ["a", "b", "c"]}, "names: at most 2 are possible"),
        ({"section": []}, "section: a section is needed"),
        ({"text": "A1"}, "text: must match ^[a-z]+$"),
        ({"text": "a"}, "text: at least 2 characters are needed"),
        ({"flag": "perhaps"}, "flag: true or false is needed"),
    ],
)
def test_a_mistake_is_its_place_and_what_is_needed(given: dict[str, Any], shown: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Model.model_validate(given)
    assert first_line(refused.value) in (shown, "share: a finite number is needed")


def test_what_a_check_of_ours_says_is_shown_as_it_is() -> None:
    mistake = PydanticCustomError("digits", "not a whole number of up to nine digits")
    assert said({"type": mistake.type, "msg": mistake.message(), "loc": ()}) == mistake.message()
