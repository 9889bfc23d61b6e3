"""`anchors:` at which numbers of tokens the model is kept, and when training ends."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lmeff.quantities import format_count
from lmeff.recipe.sections.fields import Count, Number, OnResume, PositiveCount, Section


class Anchors(Section):
    tokens: Annotated[list[Count], Field(min_length=1)]
    """Token counts at which the model is kept; training stops after the last. Fires at
    `ceil(anchor / batch.tokens)`."""
    mode: Annotated[Literal["snapshot", "restart", "anneal"], OnResume.FIXED] = "snapshot"
    """`snapshot`: one run, photographed on its way. `restart`: a run for every anchor, each with its own schedule. `anneal`:
    one trunk at constant rate, and for every anchor a branch that leaves it at `(1 - schedule.decay) x anchor` and ends at
    the anchor."""
    until: Literal["converged"] | None = None
    """`converged`: train on after the last anchor until the held-out loss stands still, `max_tokens` at most."""
    max_tokens: PositiveCount | None = None
    """Where `until: converged` ends at the latest; the schedule ends there too."""
    patience: PositiveCount = 10
    """Looks at the held-out loss without an improvement, after which `until: converged` ends."""
    threshold: Annotated[Number, Field(ge=0)] = 0.002
    """Fall of the held-out loss, in nats per token, that counts as an improvement."""
    patient_after: Count = 2_000_000_000
    """Tokens before which `until: converged` does not look."""
    look_every: PositiveCount | None = None
    """Tokens between two looks. Default: so many that looking takes 1% of the computation."""

    @property
    def last_tokens(self) -> int:
        """Where training ends at the latest, and with it the schedule."""
        return self.max_tokens or self.tokens[-1]

    @model_validator(mode="after")
    def _ascending(self) -> "Anchors":
        for before, after in zip(self.tokens, self.tokens[1:], strict=False):
            if after <= before:
                raise ValueError(f"tokens must rise: {format_count(after)} follows {format_count(before)}")
        if self.tokens[-1] == 0:
            raise ValueError("tokens needs an anchor above 0, at which training ends")
        if self.until and self.mode != "snapshot":
            raise ValueError(
                f"until: has no meaning in mode '{self.mode}', where every anchor ends a schedule of its own"
            )
        if self.until and (self.max_tokens or 0) <= self.tokens[-1]:
            raise ValueError("until: needs max_tokens above the last anchor")
        if self.max_tokens and not self.until:
            raise ValueError("max_tokens: is for until: converged; training ends at the last anchor otherwise")
        return self
