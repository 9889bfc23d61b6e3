"""What the runs of a sweep have at their anchors, from their result files."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from lmeff.analysis.reading.held_out import num_held_out_tokens
from lmeff.analysis.reading.results import TaskResult, read_results
from lmeff.errors import InputError
from lmeff.formats.anchor import ANCHOR, AnchorDocument
from lmeff.formats.provenance import read_provenance
from lmeff.formats.state import StateDocument
from lmeff.revisions.revision import Revision
from lmeff.sweeps.cases import Case
from lmeff.sweeps.ranking.section import NO_DIRECTION


def has_come_to(case: Case, tokens: int) -> bool:
    """Whether a run has kept its model at an anchor; that is before its value is there."""
    return (case.run.revision(Revision(case.seed, tokens).name) / ANCHOR).is_file()


class ValuesAtAnchors:
    """Of one metric, as the files were when this was made. All are read before anything is said of them, so that what they say
    together, such as which of two values is the better one, depends on no order."""

    def __init__(self, cases: Sequence[Case], metric: str, anchors: Sequence[int]) -> None:
        """Raises InputError for values that do not tell which is better, or that cannot be compared."""
        self._metric = metric
        self._task, _, self._name = metric.partition(":")
        tokenizers = [case.recipe.tokenizer for case in cases]
        self._needs_all_text = any(one != tokenizers[0] for one in tokenizers)
        """Cases have different tokenizers, so a sample of held-out tokens is not the same text for all."""
        self._by_dev_tokens: dict[int, dict[int, Path]] = defaultdict(dict)
        """By anchor, a revision for each number of held-out tokens: values are compared at one anchor, and after a change that
        was accepted the later ones may be over another number."""
        self.by_name: dict[str, list[Case]] = defaultdict(list)
        self._values: dict[tuple[str, int, int], float] = {}
        self._failed: set[tuple[str, int]] = set()
        directions = set[bool]()
        for case in cases:
            self.by_name[case.name].append(case)
            state = StateDocument.read(case.run)  # before its values: what it had then is seen
            if state is not None and state.state == "failed":
                self._failed.add((case.name, case.seed))
            for tokens in anchors:
                if (found := self._read(case, tokens)) is not None:
                    self._values[case.name, case.seed, tokens], is_higher_better = found
                    directions.add(is_higher_better)
        if len(directions) > 1:
            text = "some of its results say that higher is better, and some that lower is, so none is the best"
            raise InputError(f"ranking.metric {metric}: {text}")
        self.lower_is_better = directions != {True}
        """As the results say; without any, nothing is compared."""

    def mean(self, name: str, tokens: int) -> float | None:
        """Over the seeds of a case; None while one of them has no value there."""
        values = [self._values.get((name, case.seed, tokens)) for case in self.by_name[name]]
        known = [value for value in values if value is not None]
        return fmean(known) if len(known) == len(values) else None

    def has_failed(self, name: str, tokens: int) -> bool:
        """Whether a run of a case has that has no value there. What fails later changes nothing of what is decided there."""
        runs = [(name, case.seed) for case in self.by_name[name]]
        return any(run in self._failed and (*run, tokens) not in self._values for run in runs)

    def runs_at(self, tokens: int) -> frozenset[tuple[str, int]]:
        """Name and seed of those that have a value there."""
        return frozenset((name, seed) for name, seed, at in self._values if at == tokens)

    def _read(self, case: Case, tokens: int) -> tuple[float, bool] | None:
        """The value, and whether a higher one would be better."""
        if not has_come_to(case, tokens):
            return None
        name = Revision(case.seed, tokens).name
        if self._metric.startswith("dev_"):
            return self._held_out(case, name, tokens), False
        return self._score(case, name)

    def _held_out(self, case: Case, revision: str, tokens: int) -> float:
        folder = case.run.revision(revision)
        anchor = AnchorDocument.read(folder)
        value = getattr(anchor, self._metric)
        if value is None:
            raise InputError(f"{folder}: has no {self._metric}, by which cases are compared (ranking.metric)")
        if self._needs_all_text:
            there = num_held_out_tokens(read_provenance(folder)) or 0
            if there > (taken := anchor.dev_tokens or case.recipe.evaluation.dev_tokens):
                raise InputError(
                    f"{case}: of {there:,} held-out tokens, {taken:,} are taken; with several vocabularies that is not the same"
                    " text for all, so take all (evaluation.dev_tokens)"
                )
        elif anchor.dev_tokens is not None:
            numbers = self._by_dev_tokens[tokens]
            numbers.setdefault(anchor.dev_tokens, folder)
            if len(numbers) > 1:
                said = " and ".join(f"{number:,} ({where})" for number, where in numbers.items())
                raise InputError(
                    f"{self._metric} is over other numbers of held-out tokens: {said}; it cannot be compared"
                )
        return float(value)

    def _score(self, case: Case, revision: str) -> tuple[float, bool] | None:
        result = read_results(case.run.results_of(revision)).tasks.get(self._task)
        score = result.metrics.get(self._name or "acc") if result else None
        return None if result is None or score is None else (float(score.value), self._direction(result))

    def _direction(self, result: TaskResult) -> bool:
        said = result.higher_is_better(self._name or "acc")
        if said is None:
            raise InputError(f"ranking.metric {self._metric}: {NO_DIRECTION}")
        return said
