"""What the runs of a sweep have at their anchors, from their result files."""

from collections.abc import Sequence
from statistics import fmean

from lmeff.analysis.reading.results import TaskResult, read_results
from lmeff.errors import InputError
from lmeff.formats.anchor import ANCHOR, AnchorDocument
from lmeff.formats.provenance import read_provenance
from lmeff.formats.state import StateDocument
from lmeff.revisions.revision import Revision
from lmeff.sweeps.cases import Case


def has_failed(cases: Sequence[Case]) -> bool:
    """Whether any of the runs has."""
    states = (StateDocument.read(case.run) for case in cases)
    return any(state is not None and state.state == "failed" for state in states)


def has_come_to(case: Case, tokens: int) -> bool:
    """Whether a run has kept its model at an anchor."""
    return (case.run.revision(Revision(case.seed, tokens).name) / ANCHOR).is_file()


class ValuesAtAnchors:
    """Of one metric; every file is read once."""

    def __init__(self, metric: str, needs_all_text: bool) -> None:
        """`needs_all_text`: cases have different tokenizers, so a sample of held-out tokens is not the same text for all."""
        self._metric, self._needs_all_text = metric, needs_all_text
        self._is_held_out = metric.startswith("dev_")
        self._task, _, self._name = metric.partition(":")
        self.is_higher_better = False
        """As the results say that were read so far."""

    def mean(self, cases: Sequence[Case], tokens: int) -> float | None:
        """Over the seeds of a case; None while one of them has no value there. Raises InputError for values that do not tell
        which is better, or that cannot be compared."""
        values = [self._value(case, tokens) for case in cases]
        known = [value for value in values if value is not None]
        return fmean(known) if len(known) == len(values) else None

    def _value(self, case: Case, tokens: int) -> float | None:
        if not has_come_to(case, tokens):
            return None
        name = Revision(case.seed, tokens).name
        return self._held_out(case, name) if self._is_held_out else self._score(case, name)

    def _held_out(self, case: Case, revision: str) -> float:
        folder = case.run.revision(revision)
        value = getattr(AnchorDocument.read(folder), self._metric)
        if value is None:
            raise InputError(f"{folder}: has no {self._metric}, by which cases are compared (ranking.metric)")
        if self._needs_all_text:
            dev = (read_provenance(folder).get("tokens", {}).get("splits") or {}).get("dev") or {}
            if dev.get("num_tokens", 0) > case.recipe.evaluation.dev_tokens:
                raise InputError(
                    f"{case}: of {dev['num_tokens']:,} held-out tokens, {case.recipe.evaluation.dev_tokens:,} are taken; with"
                    " several vocabularies that is not the same text for all, so take all (evaluation.dev_tokens)"
                )
        return float(value)

    def _score(self, case: Case, revision: str) -> float | None:
        result = read_results(case.run.results_of(revision)).tasks.get(self._task)
        score = result.metrics.get(self._name or "acc") if result else None
        if result is None or score is None:
            return None
        self.is_higher_better = self._direction(result)
        return float(score.value)

    def _direction(self, result: TaskResult) -> bool:
        said = result.higher_is_better(self._name or "acc")
        if said is None:
            text = "its results do not say whether higher or lower is better, so none is the best"
            raise InputError(f"ranking.metric {self._metric}: {text}; take one that they have under higher_is_better")
        return said
