"""Numbers of a comparison as people read them."""

from lmeff.analysis.comparison.estimates import Estimate, Row
from lmeff.formats.losses import UNITS

LOWER_IS_BETTER = (*UNITS, "dev_bits_per_byte", "loss", "bits_per_byte")
_NAMES = {
    "acc": "accuracy, %",
    "dev_bits_per_byte": "bits per byte",
    **{name: f"loss, {unit}" for name, unit in UNITS.items()},
    "loss": f"loss, {UNITS['dev_loss']}",
    "bits_per_byte": "bits per byte",
}


def metric_name(metric: str) -> str:
    """A metric with its unit."""
    return _NAMES.get(metric, f"{metric} x 100")


def value(row: Row, number: float) -> str:
    """A value of a side: `63.91`, or `2.3145` of a loss."""
    return f"{number:.4f}" if row.metric in LOWER_IS_BETTER else f"{100 * number:.2f}"


def signed(row: Row, number: float) -> str:
    """A difference: `+1.23`, and `0.00` without a sign."""
    text = f"{number:+.4f}" if row.metric in LOWER_IS_BETTER else f"{100 * number:+.2f}"
    return text.lstrip("+-") if float(text) == 0 else text


def interval(row: Row, estimate: Estimate | None) -> str:
    """`[+0.98, +1.48]`, ending where differences of shares do; empty where there is none."""
    if estimate is None:
        return ""
    low, high = estimate.low, estimate.high
    if row.metric == "acc":
        low, high = max(low, -1.0), min(high, 1.0)
    return f"[{signed(row, low)}, {signed(row, high)}]"


def p_text(p: float | None) -> str:
    """`0.032`, `<0.0001`, `1.00`; empty where there is no test."""
    if p is None:
        return ""
    if p < 0.0001:
        return "<0.0001"
    return f"{p:.4f}" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"
