"""Curricula on one real text, asked fairly: at equal tokens, and over FLOPs with those of scoring, over paired seeds.

    python tests/benchmarks/curriculum_study.py [--data DIR] [--output outputs/curriculum_study] [--tokens 6M]
        [--seeds 3] [--limit 100] [--only-summary] [section.key=value ...]

The Llama of recipes/leaner_small on Leaner, by five arms: plain training, documents shuffled for every epoch, and stages by a
random order, by sentence length and by the model's own loss. Stages read a tenth of the text at first and a tenth more each
time; all of it is read from half of the tokens on. All arms of one seed begin with the same weights; every arm takes one seed
before any takes the next. The same command again skips what is done and goes on with what was stopped. Further words change
the recipes of all. Writes `summary.md` and `curriculum.svg` into the output folder: each arm beside plain training after as
many tokens, and after as many FLOPs, for which plain training goes on three times as long. Scoring by the model's own loss
costs nine passes over the text, what training on 10.8M tokens does: below about 6M tokens plain training never comes that
far, and the summary says so.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

sys.path[:0] = map(str, (Path(__file__).parent, Path(__file__).resolve().parents[2]))

from studies import INTERVALS, is_complete, mean_text, run_all, study_options, words_of_study  # noqa: E402
from study_differences import Differences, write_figure  # noqa: E402

from lmeff.evaluation.results import scores_of  # noqa: E402
from lmeff.formats.anchor import AnchorDocument  # noqa: E402
from lmeff.formats.run_folder import RunFolder  # noqa: E402
from lmeff.quantities import format_short, format_tokens  # noqa: E402

TASK = "lmeff_blimp"
STAGES = (
    "curriculum.protocol=iterative",
    "curriculum.start=0.1",
    "curriculum.step=0.1",
    "curriculum.pacing=share",
    "curriculum.whole_at=0.5",
)
PLAIN = "full_repeated"
ARMS: dict[str, tuple[str, ...]] = {
    PLAIN: ("curriculum.protocol=full_repeated",),
    "full_random": ("curriculum.protocol=full_random",),
    "random": (*STAGES, "curriculum.order=random"),
    "sentence_length": (*STAGES, "curriculum.order=sentence_length"),
    "own_loss": (*STAGES, "curriculum.order=own_loss"),
}
"""Names of runs, and what they change."""
NUM_ANCHORS = 8


@dataclass(frozen=True)
class Study:
    data: Path
    output: Path
    tokens: int
    limit: int
    words: tuple[str, ...]
    """For the recipes of all."""

    def run(self, arm: str, seed: int) -> RunFolder:
        return RunFolder(self.output / arm / f"seed-{seed}")

    def recipe(self, arm: str, seed: int) -> list[str]:
        # What scoring costs others buys plain training tokens.
        times = 3 if arm == PLAIN else 1
        anchors = ",".join(str(self.tokens * share // NUM_ANCHORS) for share in range(times * NUM_ANCHORS + 1))
        return [
            "leaner_small",
            *words_of_study(arm, seed, self.data, self.output, self.limit),
            "corpus.epochs=100",
            # A rate that does not fall, so that an anchor is what a run of its length would be.
            "schedule.name=constant",
            "schedule.warmup=100 steps",
            f"anchors.tokens=[{anchors}]",
            *self.words,
            *ARMS[arm],
        ]


def missing(study: Study, num_seeds: int) -> Iterator[list[str]]:
    """The words of each run that is not done."""
    for seed, arm in product(range(num_seeds), ARMS):
        if not is_complete(study.run(arm, seed)):
            yield study.recipe(arm, seed)


@dataclass(frozen=True)
class Curve:
    """The anchors of a run, ascending, without the first."""

    tokens: np.ndarray
    flops: np.ndarray
    losses: np.ndarray
    blimp: np.ndarray
    num_documents_seen: np.ndarray

    @property
    def scores(self) -> tuple[np.ndarray, np.ndarray]:
        return self.losses, self.blimp

    def at(self, axis: str, place: float) -> tuple[float, float]:
        """Loss and BLiMP where the curve has come to some tokens or FLOPs, on a straight line between two anchors; NaN where it
        never came."""
        places = getattr(self, axis)
        loss, blimp = (np.interp(place, places, values, right=np.nan) for values in (self.losses, self.blimp))
        return float(loss), float(blimp)


Curves = dict[str, dict[int, Curve]]
"""By arm and seed."""


def curve_of(run: RunFolder) -> Curve:
    found = [(one, AnchorDocument.read(one)) for one in run.revisions.glob("*-tokens-*")]
    rows = []
    for folder, anchor in sorted(found, key=lambda pair: pair[1].exact_tokens):
        if anchor.step:
            scores = scores_of(run.results_of(folder.name), [TASK])
            blimp = next((value for name, value in scores.items() if name.startswith(f"{TASK}/acc")), np.nan)
            flops = anchor.flops + (anchor.flops_scoring or 0)
            assert anchor.dev_loss is not None
            rows.append((anchor.exact_tokens, flops, anchor.dev_loss, 100 * blimp, anchor.num_documents_seen or 0))
    return Curve(*np.array(rows, float).T)


def summary(study: Study, num_seeds: int) -> tuple[str, dict[str, Differences]]:
    """What is done, as Markdown, and the differences of held-out loss after all tokens, by way of comparing."""
    curves: Curves = {}
    for arm, seed in product(ARMS, range(num_seeds)):
        if is_complete(study.run(arm, seed)):
            curves.setdefault(arm, {})[seed] = curve_of(study.run(arm, seed))
    lines = [
        f"At {format_tokens(study.tokens)} tokens:",
        "",
        "| arm | seeds | FLOPs with scoring | different documents | held-out loss | BLiMP |",
        "|---|---|---|---|---|---|",
    ]
    for arm, of_seeds in curves.items():
        every = list(of_seeds.values())
        place = NUM_ANCHORS - 1
        row = [arm, str(len(every)), format_short(every[0].flops[place])]
        row += [f"{np.mean([one.num_documents_seen[place] for one in every]):,.0f}"]
        row += [mean_text([one.losses[place] for one in every], 4), mean_text([one.blimp[place] for one in every], 2)]
        lines.append(f"| {' | '.join(row)} |")
    panels = {}
    for title, axis in (("at equal tokens", "tokens"), ("at equal FLOPs, those of scoring counted", "flops")):
        half, whole = NUM_ANCHORS // 2 - 1, NUM_ANCHORS - 1
        columns = [
            cells(differences(curves, axis, place, score), digits)
            for place in (half, whole)
            for score, digits in ((0, 4), (1, 2))
        ]
        panels[title] = Differences(
            {arm: of_seeds for arm, of_seeds in differences(curves, axis, whole, 0).items() if of_seeds}
        )
        lines += ["", f"Differences {title} (arm minus {PLAIN}, seed by seed):", ""]
        lines += ["| arm | at half of the tokens: loss | BLiMP | at all: loss | BLiMP |", "|---|---|---|---|---|"]
        for arm in ARMS:
            if arm in columns[0]:
                lines.append(f"| {' | '.join([arm, *(column[arm] for column in columns)])} |")
    lines += ["", INTERVALS]
    return "\n".join(lines) + "\n", panels


def differences(curves: Curves, axis: str, place: int, score: int) -> dict[str, dict[int, float]]:
    """What arms differ by from plain training in loss (`score` 0) or BLiMP (1), by seed, where they have come to an anchor;
    nothing where plain training never came."""
    plain, found = curves.get(PLAIN, {}), dict[str, dict[int, float]]()
    for arm in ARMS:
        seeds = curves.get(arm, {}).keys() & plain.keys()
        if arm == PLAIN or not seeds:
            continue
        places = {seed: float(getattr(curves[arm][seed], axis)[place]) for seed in sorted(seeds)}
        came = all(getattr(plain[seed], axis)[-1] >= wanted for seed, wanted in places.items())
        found[arm] = {
            seed: float(curves[arm][seed].scores[score][place]) - plain[seed].at(axis, wanted)[score]
            for seed, wanted in places.items()
            if came
        }
    return found


def cells(found: dict[str, dict[int, float]], digits: int) -> dict[str, str]:
    texts = Differences({arm: of_seeds for arm, of_seeds in found.items() if of_seeds}).texts(digits)
    return {arm: texts.get(arm, "plain training ended before") for arm in found}


def main() -> int:
    parser = study_options(__doc__, "outputs/curriculum_study", "6M")
    parser.add_argument("words", nargs="*", metavar="section.key=value")
    options = parser.parse_intermixed_args()
    study = Study(options.data.resolve(), options.output.resolve(), options.tokens, options.limit, tuple(options.words))
    if not options.only_summary and (code := run_all(("lmeff.run", *words) for words in missing(study, options.seeds))):
        return code
    text, panels = summary(study, options.seeds)
    study.output.mkdir(parents=True, exist_ok=True)
    (study.output / "summary.md").write_text(text)
    if any(one.of_arms for one in panels.values()):
        write_figure(panels, "plain training", study.output / "curriculum.svg")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
