"""What callbacks have in common that look at the held-out loss until it stands still."""

from typing import Any

from lmeff.training.callbacks.callback import RunCallback


class PlateauCallback(RunCallback):
    """Counts looks at the held-out loss that were no improvement."""

    best: float | None = None
    """The lowest held-out loss so far, if it was lower than the one before by more than the threshold."""
    looks_without_improvement: int = 0
    """Looks since then."""

    def state(self) -> dict[str, Any]:
        return {"best": self.best, "looks_without_improvement": self.looks_without_improvement}

    def load_state(self, saved: dict[str, Any]) -> None:
        self.best, self.looks_without_improvement = saved["best"], saved["looks_without_improvement"]

    def compare(self, loss: float, threshold: float) -> None:
        """Takes note of a look."""
        if self.best is None or loss < self.best - threshold:
            self.best, self.looks_without_improvement = loss, 0
        else:
            self.looks_without_improvement += 1
