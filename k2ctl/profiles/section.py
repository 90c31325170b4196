"""What every part of a profile has in common: frozen, and an unknown key is a mistake."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

LARGEST = 10**15
"""More than any figure of a market; beyond it floats lose whole numbers, and products of two leave 64 bits."""

PositiveInt = Annotated[int, Field(gt=0, le=LARGEST)]
PositiveFloat = Annotated[float, Field(gt=0, le=LARGEST)]
Count = Annotated[int, Field(ge=0, le=LARGEST)]
Amount = Annotated[float, Field(ge=0, le=LARGEST)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A part of a profile. Validators are built for whole files only, when one is read: that halves the start-up."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)
