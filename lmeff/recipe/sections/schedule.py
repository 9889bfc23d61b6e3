"""`schedule:` how the learning rate goes up and down."""

import re
from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema, field_validator

from lmeff.quantities import parse_count, parse_number
from lmeff.recipe.sections.fields import NUMBER_TEXT, Number, Section

_WARMUP_TEXT = NUMBER_TEXT.removesuffix("$") + r"(steps?|tokens?)?\s*$"


def _warmup_parts(value: object) -> tuple[float, Literal["steps", "tokens", "share"]]:
    try:
        return _amount_and_unit(value)
    except ValueError:
        if not isinstance(value, str) or re.search(_WARMUP_TEXT, value):
            raise
        raise ValueError(
            f"{value!r} is not a number of steps ('300 steps') or tokens ('5M tokens'), or a share below 1"
        ) from None


def _amount_and_unit(value: object) -> tuple[float, Literal["steps", "tokens", "share"]]:
    text = str(value).strip()
    for unit in ("steps", "step", "tokens", "token"):
        if text.endswith(unit):
            amount = parse_count(text.removesuffix(unit).strip())
            if amount < 0:
                raise ValueError(f"{value!r} is below 0")
            return amount, "steps" if unit.startswith("step") else "tokens"
    share = parse_number(value)
    if not 0 <= share < 1:
        raise ValueError(f"{value!r} has no unit: write '{text} steps', '{text} tokens' or a share below 1")
    return share, "share"


class Schedule(Section):
    name: Literal["cosine", "linear", "constant", "wsd"] | None = None
    """Shape after warm-up; it ends at the last anchor. `wsd` (Hu et al. 2024) is constant and then decays to 0. Default:
    `cosine`; `wsd` in `anchors.mode: anneal`, `constant` with `schedule_free_adamw`."""
    decay: Annotated[Number, Field(gt=0, lt=1)] = 0.2
    """Share of the run, or of a branch's anchor, over which `wsd` decays."""
    decay_shape: Literal["1-sqrt", "linear", "cosine"] = "1-sqrt"
    """Shape of `wsd`'s decay; `1-sqrt` is from Hägele et al. 2024."""
    warmup: int | float | Annotated[str, WithJsonSchema({"type": "string", "pattern": _WARMUP_TEXT})] = "300 steps"
    """`300 steps`, `5M tokens` or a share of the run such as 0.02."""

    @field_validator("warmup", mode="before")
    @classmethod
    def _readable_warmup(cls, value: object) -> object:
        _warmup_parts(value)
        return value

    def warmup_parts(self) -> tuple[float, Literal["steps", "tokens", "share"]]:
        """The warm-up as a number and its unit."""
        return _warmup_parts(self.warmup)
