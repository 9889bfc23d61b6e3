"""What a card says of the objective: in words, what its losses are, and what is drawn."""

from textwrap import fill

from lmeff.formats.anchor import AnchorDocument
from lmeff.formats.losses import TRAINING_UNITS
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.objective import ObjectiveName

_LOSSES: dict[ObjectiveName, str] = {
    "causal": "loss",
    "hybrid": "loss of masked and causal rows, by their weights",
    "masked": "loss of masked tokens",
    "permutation": "loss of predicted tokens",
}
TRAINED: dict[ObjectiveName, str] = {
    "causal": "",
    "hybrid": " by masked and causal next-token prediction in turn",
    "masked": " to fill in masked tokens",
    "permutation": " to predict tokens in a random order",
}
"""What a model was trained to do, after `from scratch`; most are causal."""
_SEES_ALL = (
    "In a plain pass it sees all of a text at once, so that stock `lm_eval --model hf`, which scores every model causally,"
    " gives numbers for it that mean nothing. Score it with `lmeff eval` or `lmeff lm-eval run --model lmeff`: "
)
_SCORED: dict[ObjectiveName, str] = {
    "masked": _SEES_ALL + "by pseudo-log-likelihood, with masked tokens.",
    "permutation": _SEES_ALL + "left to right, with a token and all after it hidden by its masks.",
}


def training_loss_words(recipe: Recipe) -> str:
    """What is minimized, with its unit."""
    return f"{_LOSSES[recipe.objective_name]} ({TRAINING_UNITS[recipe.objective_name]})"


def held_out_words(recipe: Recipe) -> tuple[str, str]:
    """What the held-out loss is called, and its unit: a hybrid's is causal."""
    name = "causal" if recipe.objective_name == "hybrid" else recipe.objective_name
    return _LOSSES[name], TRAINING_UNITS[name]


def has_bits_per_byte(recipe: Recipe) -> bool:
    """A loss of some tokens, given others that follow them, says nothing about the bytes of a text."""
    return recipe.objective_name in ("causal", "hybrid")


def scoring_paragraph(recipe: Recipe) -> str:
    """How to score a model that sees later tokens; nothing for a causal one."""
    words = _SCORED.get(recipe.objective_name)
    return f"\n{fill(words, 120, break_on_hyphens=False)}\n" if words else ""


def loss_text(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4f}"


def held_out_text(anchor: AnchorDocument, value: float | None) -> str:
    """A held-out loss, or what follows from it, among those of other anchors."""
    return "left out" if anchor.held_out is None and anchor.dev_tokens else loss_text(value)


def held_out_rows(recipe: Recipe, anchor: AnchorDocument) -> str:
    """The held-out loss of a revision, and over how many tokens it is."""
    loss = loss_text(anchor.held_out[1] if anchor.held_out else None)
    rows = ["| held-out {} ({}) | {} |".format(*held_out_words(recipe), loss)]
    if has_bits_per_byte(recipe):
        rows.append(f"| held-out bits per byte | {loss_text(anchor.dev_bits_per_byte)} |")
    if anchor.dev_tokens is not None:
        rows.append(f"| held-out tokens | {anchor.dev_tokens:,} |")
    return "\n".join(rows)


def objective_words(recipe: Recipe) -> str:
    """What is drawn and how it is weighed, under the recipe's keys; nothing for plain next-token prediction."""
    name, objective = recipe.objective_name, recipe.objective
    settings: dict[str, float | int | bool | str] = dict(objective.settings(name))
    if name == "hybrid":
        said = objective.causal_weight
        settings["causal_weight"] = "the mask rate" if said is None else said
    if objective.z_loss:
        settings["z_loss"] = objective.z_loss
    words = (
        f"{key} {value:g}" if isinstance(value, float) else f"{key} {str(value).lower()}"
        for key, value in settings.items()
    )
    return f"{name}: {', '.join(words)}" if settings else ""
