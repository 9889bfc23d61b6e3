"""What revisions are called, on disk and as branches of the Hub."""

from lmeff.quantities import format_count


def final_name(seed: int) -> str:
    """The finished model: `seed-0`."""
    return f"seed-{seed}"


def anchor_name(seed: int, nominal_tokens: int) -> str:
    """The model at an anchor: `seed-0-tokens-25M`."""
    return f"{final_name(seed)}-tokens-{format_count(nominal_tokens)}"
