"""`objective:` what is predicted from what."""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from lmeff.recipe.sections.fields import Number, OnResume, PositiveCount, Section

ObjectiveName = Literal["causal", "masked", "permutation", "hybrid"]
Share = Annotated[Number, Field(ge=0, le=1)]
Rate = Annotated[Number, Field(gt=0, lt=1)]

_DEFAULTS: dict[ObjectiveName, dict[str, float | int | bool]] = {
    "causal": {},
    "masked": {
        "mask_rate": 0.15,
        "final_mask_rate": 0.15,
        "masked_share": 0.8,
        "random_share": 0.1,
        "whole_word": False,
    },
    "permutation": {"predicted_share": 1 / 6, "max_span": 5},
    "hybrid": {
        "masked_rows": 15 / 16,
        "mask_rate": 0.30,
        "final_mask_rate": 0.15,
        "masked_share": 0.8,
        "random_share": 0.1,
        "max_span": 3,
    },
}
"""The keys that each objective has beside those of all, and what they are when a recipe does not say them: BERT's (Devlin et
al. 2019), XLNet's (Yang et al. 2019), GPT-BERT's (Charpentier & Samuel 2024)."""
WITH_MASK_TOKEN: tuple[ObjectiveName, ...] = ("masked", "hybrid")
"""Objectives that hide tokens behind `<mask>`."""


def most_predicted(length: int, share: float, max_span: int) -> int:
    """How many tokens of a row `permutation` predicts at most, which is how many its query stream has room for."""
    return min(length, length // int(1 / share) + max_span)


def share_predicted(length: int, share: float, max_span: int) -> float:
    """Share of the tokens of a row that `permutation` predicts on average. It is `share`, unless the row ends within a context
    so often that it matters (a context is 1 / share times as long as its span, all spans equally likely), or often has no
    target or nothing else: at least one token is predicted, and at least one is not."""
    begins, predicted = [1.0, *[0.0] * length], 0.0  # by position: how likely a context begins there
    covered, none, all_of_it = [1.0, *[0.0] * length], 0.0, 0.0  # and how likely all before it are targets, too
    for begin in range(length):
        for span in range(1, max_span + 1):
            shorter = int(span / share)
            for context, chance in ((shorter, 1 - span / share % 1), (shorter + 1, span / share % 1)):
                likely, num_places, left = begins[begin] * chance / max_span, context - span + 1, length - begin
                whole = max(0, min(num_places, left - span + 1))
                # Of spans that begin later only the first tokens are in the row.
                cut = sum(left - place for place in range(whole, min(num_places, left)))
                predicted += likely * (whole * span + cut) / num_places
                if begin == 0:
                    none += likely * max(0, num_places - length) / num_places
                only_targets = covered[begin] * chance / max_span
                if context <= left:
                    begins[begin + context] += likely
                    covered[begin + context] += only_targets if context == span else 0.0
                elif span >= left:
                    all_of_it += only_targets / num_places
    return (predicted + none - all_of_it - covered[length]) / length


class Objective(Section):
    on_resume: ClassVar[OnResume] = (
        OnResume.FIXED
    )  # with other masks, held-out losses of one run would not be comparable

    own_keys: ClassVar[frozenset[str]] = frozenset(key for keys in _DEFAULTS.values() for key in keys) | {
        "causal_weight"
    }
    """The keys that not every objective has."""

    name: ObjectiveName | None = None
    """`causal`: every token from those before it. `masked` (Devlin et al. 2019): masked tokens from all others. `permutation`
    (XLNet; Yang et al. 2019): tokens in a random order, from those before them in that order. `hybrid` (GPT-BERT; Charpentier &
    Samuel 2024): most rows of a step are masked and seen whole, the others causal; a masked token is predicted by the
    position before it, so that the model is a causal one. Default: what the family is made for."""
    mask_rate: Rate | None = None
    """Share of the tokens that are masked, at the beginning. Default: 0.15 for `masked`, 0.3 for `hybrid`."""
    final_mask_rate: Rate | None = None
    """Mask rate at the last anchor, of each part where anchors restart; it changes linearly over the steps. Default:
    `mask_rate` where that is given, else 0.15."""
    masked_share: Share | None = None
    """Of the tokens that are masked, those that become `<mask>`. Default: 0.8."""
    random_share: Share | None = None
    """Of the tokens that are masked, those that become a random token; the rest stays as it is. Default: 0.1."""
    whole_word: bool | None = None
    """`masked`: mask all tokens of a word or none. Default: false."""
    max_span: PositiveCount | None = None
    """Longest span of tokens that are masked (`hybrid`) or predicted (`permutation`) together. Default: 3, and 5."""
    masked_rows: Share | None = None
    """`hybrid`: share of the rows of a step that are masked; the others are causal. Default: 15/16."""
    causal_weight: Annotated[Annotated[Number, Field(gt=0)] | None, OnResume.ACCEPTED] = None
    """`hybrid`: weight in the loss of a position in a causal row; one that is masked has 1. Default: the mask rate, so that all
    rows weigh the same."""
    predicted_share: Rate | None = None
    """`permutation`: share of the tokens that are predicted. Default: 1/6."""
    z_loss: Annotated[Number, Field(ge=0), OnResume.ACCEPTED] = 0.0
    """Weight of the mean squared log-sum-exp of the logits, which keeps them small (Chowdhery et al. 2022). Logs and
    anchors show the loss without it."""

    def contradictions(self) -> Iterator[tuple[str, str]]:
        replaced = sum(self._share(key) for key in ("masked_share", "random_share"))
        if replaced > 1 + 1e-9:
            yield "random_share", f"with masked_share it is {replaced:g} of the masked tokens, more than all of them"

    def _share(self, key: str) -> float:
        said = getattr(self, key)
        return float(_DEFAULTS["masked"][key] if said is None else said)

    def settings(self, name: ObjectiveName) -> dict[str, float | int | bool]:
        """The keys of the objective `name` with their values, also those that the recipe does not say."""
        values = dict(_DEFAULTS[name])
        if "final_mask_rate" in values and self.mask_rate is not None:
            values["final_mask_rate"] = self.mask_rate
        return values | {key: said for key in values if (said := getattr(self, key)) is not None}

    def changed(self, name: ObjectiveName) -> dict[str, float | int | bool]:
        """The keys of the objective `name` that have another value than their default, `z_loss` among them."""
        settings = self.settings(name) | {"z_loss": self.z_loss}
        settings |= {} if self.causal_weight is None else {"causal_weight": self.causal_weight}
        plain = _DEFAULTS[name] | {"z_loss": 0.0}
        return {key: value for key, value in settings.items() if value != plain.get(key)}

    def misplaced(self, name: ObjectiveName) -> Iterator[tuple[str, str]]:
        """Keys that the recipe gives and the objective `name` does not have, and why not."""
        own = _DEFAULTS[name].keys() | ({"causal_weight"} if name == "hybrid" else set())
        for key in sorted(self.own_keys - own):
            if getattr(self, key) is not None:
                owners = [f"'{one}'" for one, keys in _DEFAULTS.items() if key in keys] or ["'hybrid'"]
                yield key, f"the objective '{name}' has no such key; it belongs to {' and '.join(owners)}"
