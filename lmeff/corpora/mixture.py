"""How much of each source makes the training text: weights, budgets and epochs, as passes over its documents."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lmeff.corpora.catalogue import sources_of
from lmeff.errors import InputError, TooLittleText
from lmeff.recipe.sections.corpus import Corpus


@dataclass(frozen=True)
class Passes:
    """What is read of one source."""

    num_whole: int
    """Passes over all its documents."""
    num_documents: int = 0
    """Documents of one more pass, from the beginning."""


def check_reached(source: str, reached: float, wanted: float, next_size: int, unit: str) -> None:
    """Raises InputError when whole documents do not come near what is wanted: the next one is too long."""
    if reached < 0.9 * wanted:
        key = f"corpus.sources.{source}" if source else "corpus"
        raise InputError(
            f"{key}: the mixture wants {wanted:,.0f} {unit} of it, and has {reached:,.0f} before a document of {next_size:,};"
            " its documents are too long for that: give it a separator, or raise corpus.budget"
        )


@dataclass(frozen=True)
class Mixture:
    """Shares of the sources, as a recipe wants them."""

    weights: dict[str, float] = field(default_factory=dict)
    """Source -> share of the whole; empty when each is taken as it is."""
    epochs: dict[str, float] = field(default_factory=dict)
    """Source -> passes that may be read, or are when there are no weights."""
    budget: int | None = None
    """Size of the whole."""
    unit: str = "words"
    """Of the budget: `words` or `tokens`."""

    @property
    def is_plain(self) -> bool:
        """Whether every source is read once, whole."""
        return not self.weights and not self.budget and all(epochs == 1 for epochs in self.epochs.values())

    def describe(self) -> dict[str, Any]:
        """What the order and number of documents depend on."""
        return {"weights": self.weights, "epochs": self.epochs, "budget": self.budget, "unit": self.unit}

    def passes(
        self, sizes: dict[str, np.ndarray], held_out: dict[str, int], short: dict[str, int]
    ) -> dict[str, Passes]:
        """What is read of each source.

        `sizes`: source -> size of each of its training documents, in words or tokens, (documents,); `held_out`: words held out
        of each; `short`: the sources that have fewer words than the budget wants. Raises InputError for a source without
        enough text.
        """
        totals = {source: int(size.sum()) for source, size in sizes.items()}
        wanted = self._wanted(totals, held_out, short)
        return {source: self._of_one(source, sizes[source], wanted[source]) for source in sizes}

    def _wanted(self, totals: dict[str, int], held_out: dict[str, int], short: dict[str, int]) -> dict[str, float]:
        """Size that training reads of each source."""
        if not self.weights and not self.budget:
            return {source: total * self.epochs.get(source, 1) for source, total in totals.items()}
        weights = self.weights or dict.fromkeys(totals, 1 / len(totals))
        if self.budget and self.unit == "words":
            # Text was read up to the budget already.
            return {
                source: max(total, weights[source] * self.budget - held_out.get(source, 0))
                if source in short
                else total
                for source, total in totals.items()
            }
        if self.budget:
            return {source: weights[source] * self.budget for source in totals}
        whole = min(total * self.epochs.get(source, 1) / weights[source] for source, total in totals.items())
        return {source: weights[source] * whole for source in totals}

    def _of_one(self, source: str, sizes: np.ndarray, wanted: float) -> Passes:
        total, epochs = int(sizes.sum()), self.epochs.get(source, 1)
        if wanted > total * epochs * (1 + 1e-9) + 1:
            key = f"corpus.sources.{source}" if source else "corpus"
            raise TooLittleText(
                f"{key}: has {total:,} {self.unit} of training text, to be read {epochs:g} times, and the mixture wants"
                f" {wanted:,.0f}; give it more text or epochs, or lower corpus.budget"
            )
        num_whole, rest = divmod(wanted, total)
        if total - rest < 1:  # a rounding error, not a pass that lacks its last document
            return Passes(int(num_whole) + 1)
        ends = np.cumsum(sizes)
        num_documents = int(np.searchsorted(ends, rest + 1e-6, "right"))
        reached = num_whole * total + (int(ends[num_documents - 1]) if num_documents else 0)
        check_reached(source, reached, wanted, int(sizes[num_documents]), self.unit)
        return Passes(int(num_whole), num_documents)


def mixture_of(corpus: Corpus) -> Mixture:
    """The mixture that a completed corpus section asks for."""
    sources = sources_of(corpus)
    total = sum(source.weight or 0 for source in sources.values())
    used = {name: source for name, source in sources.items() if not total or source.weight}
    budget, unit = corpus.budget_parts or (None, "words")
    return Mixture(
        {name: (source.weight or 0) / total for name, source in used.items()} if total else {},
        {name: float(source.epochs) for name, source in used.items()},
        budget,
        unit,
    )
