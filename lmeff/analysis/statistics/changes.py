"""How the accuracy of a task changed between two anchors of one run, with a paired interval over its minimal pairs.

The interval describes which pairs happened to be in the test. How much a curve moves when the same recipe is trained again
shows only over seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lmeff.analysis.reading.mixed_settings import conditions, setting_words
from lmeff.analysis.reading.runs import Anchor, Run
from lmeff.errors import InputError
from lmeff.quantities import format_count, format_tokens, parse_count

NUM_RESAMPLES = 10_000


@dataclass(frozen=True)
class Change:
    """How the accuracy of a task changed between two anchors, in points (hundredths of accuracy)."""

    task: str
    first: str
    """Revision, as `last`."""
    last: str
    first_tokens: str
    """Nominal tokens as revisions are named, such as `1250M`; as `last_tokens`."""
    last_tokens: str
    points: float
    low: float
    """Lower end of the 95% interval."""
    high: float
    num_pairs: int
    num_paradigms: int
    num_resamples: int
    unit: str = "tokens"
    """What the anchors count."""
    num_items: int | None = None
    """From so many items the pairs were made; None: as many."""

    @property
    def over(self) -> str:
        """What its interval is over."""
        return "items" if self.num_items and self.num_items < self.num_pairs else "pairs"

    @property
    def span(self) -> str:
        """`from 0 to 2B tokens`."""
        first, last = (format_tokens(parse_count(tokens)) for tokens in (self.first_tokens, self.last_tokens))
        return f"from {first} to {last} {self.unit}"

    def __str__(self) -> str:
        number = self.num_items if self.over == "items" else self.num_pairs
        return (
            f"{self.task}: {self.points:+.1f} points {self.span} "
            f"(95% interval {self.low:.1f} to {self.high:.1f} over {number:,} {self.over}, paired bootstrap, one seed)"
        )


def change(
    run: Run,
    task: str,
    first: str | int | None = None,
    last: str | int | None = None,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Change:
    """Accuracy of `task` at `last` minus at `first`, with a paired bootstrap 95% interval.

    `task` is a group or a paradigm; `first` and `last` are revision names or tokens (`25M`), by default the first and
    the last anchor with scores of its pairs, of those with the data and settings of the last one. A
    group's accuracy is the unweighted mean
    over its paradigms.

    Pairs are resampled within each paradigm, the same ones at both anchors, so what makes a pair easy or hard at both
    cancels; the interval is the percentile interval (Efron 1979, "Bootstrap methods: another look at the jackknife"). A
    pair's difference can only be -1, -0.5, 0, 0.5 or 1, so how the sum over a resample is distributed is known exactly:
    drawing sums from that is exactly the bootstrap over pairs, and its cost does not grow with their number. Pairs that were
    made from one item, such as EWoK's in both directions, are drawn together.

    Raises InputError when the run lacks the task or two anchors with its pairs, or when these were scored with other data or
    settings.
    """
    ends = _ends(run, task) if first is None or last is None else (run.anchor(first), run.anchor(last))
    if ends is None:
        number = sum(_is_scored(run, task, anchor) for anchor in run.anchors)
        raise InputError(
            f"{run.folder}: {min(number, 1)} anchors with scores of the pairs of {task}; a change needs two"
        )
    before = ends[0] if first is None else run.anchor(first)
    after = ends[1] if last is None else run.anchor(last)
    if _made_with(before, task) != _made_with(after, task):
        words = setting_words(_made_with(before, task)[0], _made_with(after, task)[0]) or ["scoring"]
        other = f"data of {task}" if words[0] == "data" else f"settings of {task} ({', '.join(words)})"
        raise InputError(
            f"{run.folder}: {before.revision} and {after.revision} were scored with other {other}, so that "
            "their pairs cannot be compared; evaluate one of them again"
        )
    differences = paired_differences(run, task, before, after)
    counts, sums, sizes = _counted_items(differences)
    means = bootstrap_means(counts, sums, num_resamples, np.random.default_rng(seed), sizes)
    low, high = np.percentile(means, [2.5, 97.5])
    observed = (counts @ sums / (counts @ sizes)).mean()
    return Change(
        task=task,
        first=before.revision,
        last=after.revision,
        first_tokens=format_count(before.document.nominal_tokens),
        last_tokens=format_count(after.document.nominal_tokens),
        points=100 * float(observed),
        low=100 * float(low),
        high=100 * float(high),
        num_pairs=len(differences),
        num_paradigms=len(counts),
        num_resamples=num_resamples,
        unit=run.unit,
        num_items=int(counts.sum()),
    )


def paired_differences(run: Run, task: str, before: Anchor, after: Anchor) -> pd.DataFrame:
    """`task`, `pair`, `item`, `difference` of every pair of `task` that both anchors scored. Raises InputError without any."""
    paradigms = run.paradigms(task)
    first, last = (_pairs_among(anchor, paradigms) for anchor in (before, after))
    if first["task"].equals(last["task"]) and first["pair"].equals(
        last["pair"]
    ):  # mostly so, and merging takes its time
        joined, difference = first, last["score"] - first["score"]
    else:
        joined = first.merge(last.drop(columns="item"), on=["task", "pair"], suffixes=("_first", "_last"))
        difference = joined["score_last"] - joined["score_first"]
    if joined.empty:
        raise InputError(f"{run.folder}: {before.revision} and {after.revision} share no scored pair of {task}")
    return pd.DataFrame({name: joined[name] for name in ("task", "pair", "item")} | {"difference": difference})


def _pairs_among(anchor: Anchor, paradigms: Sequence[str]) -> pd.DataFrame:
    pairs = anchor.pairs
    is_among = pairs["task"].cat.categories.isin(paradigms)
    return pairs if is_among.all() else pairs[is_among[pairs["task"].cat.codes]].reset_index(drop=True)


def _counted_items(differences: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """By paradigm, in the order of their names, how many items there are of each kind: (paradigms, kinds); and of each kind the
    sum of the differences of an item's pairs, and how many pairs that are."""
    paradigm_of, paradigms = pd.factorize(differences["task"], sort=True)
    number = differences["item"].to_numpy()
    _, first, item_of = np.unique(paradigm_of * (number.max() + 1) + number, return_index=True, return_inverse=True)
    kind = np.stack([np.bincount(item_of), np.bincount(item_of, differences["difference"])], axis=1)
    kinds, kind_of = np.unique(kind, axis=0, return_inverse=True)
    counts = np.zeros((len(paradigms), len(kinds)), dtype=np.int64)
    np.add.at(counts, (paradigm_of[first], kind_of.ravel()), 1)
    return counts, kinds[:, 1], kinds[:, 0]


def bootstrap_means(
    counts: np.ndarray,
    values: np.ndarray,
    num_resamples: int,
    generator: np.random.Generator,
    sizes: np.ndarray | None = None,
) -> np.ndarray:
    """Bootstrap distribution of a mean over strata, each resampled on its own: shape `(num_resamples,)`.

    `counts[s, v]`: how many items of stratum `s` have the value `values[v]`, which is the sum over `sizes[v]` observations;
    one each by default.
    """
    sizes = np.ones_like(values) if sizes is None else sizes
    has_one_size = len(set(sizes.tolist())) == 1 and bool(np.all(2 * values == np.round(2 * values)))
    total = np.zeros(num_resamples)
    for stratum in counts:
        num_items = int(stratum.sum())
        if has_one_size:
            total += _drawn_sums(stratum, values, num_resamples, generator) / (num_items * sizes[0])
        else:
            drawn = generator.multinomial(num_items, stratum / num_items, size=num_resamples)
            total += (drawn @ values) / (drawn @ sizes)
    return total / len(counts)


def _drawn_sums(
    stratum: np.ndarray, values: np.ndarray, num_resamples: int, generator: np.random.Generator
) -> np.ndarray:
    """Sums of as many values as there are items, each drawn from the observed ones, which are multiples of one half: their
    distribution is that of one value, convolved with itself."""
    num_items, lowest = int(stratum.sum()), values.min()
    halves = np.round(2 * (values - lowest)).astype(int)
    once = np.bincount(halves, weights=stratum / num_items)
    support = num_items * (len(once) - 1) + 1
    length = 1 << (support - 1).bit_length()
    probabilities = np.fft.irfft(np.fft.rfft(once, length) ** num_items, length)[:support]
    below = np.cumsum(np.maximum(probabilities, 0.0))
    # Sorted, they are found several times as fast; shuffled, strata are independent of each other.
    sought = np.sort(generator.random(num_resamples)) * below[-1]
    drawn = generator.permutation(np.searchsorted(below, sought, side="right"))
    return num_items * lowest + np.minimum(drawn, support - 1) / 2


def changes(run: Run) -> list[Change]:
    """From the first to the last anchor, as `change` takes them, for every headline task for which there are two."""
    return [change(run, task) for task in run.headline_tasks if _ends(run, task)]


def _ends(run: Run, task: str) -> tuple[Anchor, Anchor] | None:
    """The first and the last of the anchors that were scored pair by pair with the data and settings of the last one; None
    where these are not two. The scores of the anchors between them are not read."""
    last = next((anchor for anchor in reversed(run.anchors) if _is_scored(run, task, anchor)), None)
    for anchor in run.anchors:
        if last is None or anchor is last:
            return None
        if _made_with(anchor, task) == _made_with(last, task) and _is_scored(run, task, anchor):
            return anchor, last
    return None


def _made_with(anchor: Anchor, task: str) -> tuple[dict, str | None]:
    """The conditions of a result, which are empty for one that others made, and how it was scored."""
    result = anchor.results.tasks.get(task)
    return (conditions(result.about), result.scoring) if result else (conditions({}), None)


def _is_scored(run: Run, task: str, anchor: Anchor) -> bool:
    return not anchor.scored_paradigms.isdisjoint(run.paradigms(task))
