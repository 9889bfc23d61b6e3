"""What losses are called, by what is predicted. Losses of different kinds cannot be compared: they share no column or axis."""

UNITS = {
    "dev_loss": "nats per token",
    "dev_masked_loss": "nats per masked token",
    "dev_permutation_loss": "nats per predicted token",
}
"""Held-out losses, and what each is over."""
TRAINING_UNITS = {
    "causal": UNITS["dev_loss"],
    "masked": UNITS["dev_masked_loss"],
    "permutation": UNITS["dev_permutation_loss"],
    "hybrid": "nats per position",
}
"""Training losses by objective; positions of a hybrid are masked and causal ones, by their weights."""


def training_name(kind: str | None) -> str:
    """The name of a training loss in tables; `kind` is None for that of the next token."""
    return f"{kind}_loss" if kind else "loss"


def spoken(name: str) -> str:
    """`dev masked loss` for `dev_masked_loss`."""
    return name.replace("_", " ")
