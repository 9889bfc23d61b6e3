"""Distillation on one real text, asked fairly: at equal tokens and at equal FLOPs, over paired seeds.

    python tests/benchmarks/distillation_study.py [--data DIR] [--output outputs/distillation_study] [--tokens 7M]
        [--teacher-tokens 7M] [--seeds 3] [--limit 100] [--only-summary] [section.key=value ...]

Two teachers of 3.3M parameters, Llamas of recipes/leaner_small with seeds of their own, teach a Llama of 1.1M on Leaner: asked
in every step, by each reduction, and once for all passes. Beside it the same student without teachers, for as many tokens, and
for as many FLOPs as either costs with its teachers, whose own training is not counted. Teachers that are asked once read the
whole text, 3.4M tokens, so that they cost more than asking where a student reads less than that; the default is two passes.
All arms of one seed begin with the same weights and read in the same order; every arm takes one seed before any takes the
next. The same command again skips what is done and goes on with what was stopped. Further words change the recipes of all.
Writes `summary.md` and `distillation.svg` into the output folder.
"""

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

sys.path[:0] = map(str, (Path(__file__).parent, Path(__file__).resolve().parents[2]))

from studies import INTERVALS, is_complete, mean_text, run_all, study_options, words_of_study  # noqa: E402
from study_differences import Differences, write_figure  # noqa: E402

from lmeff.evaluation.results import scores_of  # noqa: E402
from lmeff.formats.anchor import AnchorDocument  # noqa: E402
from lmeff.formats.run_folder import RunFolder  # noqa: E402
from lmeff.quantities import format_short, format_tokens, parse_count  # noqa: E402

TASK = "lmeff_blimp"
TEACHER_SEEDS = (100, 101)
STUDENT = ("model.hidden_size=88", "model.intermediate_size=232")
ARMS: dict[str, tuple[str, ...]] = {
    "plain": (),
    "token": ("distillation.reduction=token",),
    "batchmean": ("distillation.reduction=batchmean",),
    "kept": ("distillation.reduction=token", "distillation.cache={kind: top_k, k: 64}"),
    "plain_like_token": (),
    "plain_like_kept": (),
}
"""Names of runs, and what they change. Those `like` another one spend its FLOPs without teachers."""
PAIRS = {
    "at equal tokens": [(arm, "plain") for arm in ("token", "batchmean", "kept")],
    "at equal FLOPs, those of teachers counted": [
        ("token", "plain_like_token"),
        ("batchmean", "plain_like_token"),
        ("kept", "plain_like_kept"),
    ],
}
SHARES = (0, 1 / 4, 1 / 2, 1)


@dataclass(frozen=True)
class Study:
    data: Path
    output: Path
    tokens: int
    teacher_tokens: int
    limit: int
    words: tuple[str, ...]
    """For the recipes of all."""

    def common(self, name: str, seed: int, tokens: int) -> list[str]:
        """The recipe, and what the study changes in it."""
        anchors = ",".join(str(int(tokens * share)) for share in SHARES)
        return [
            "leaner_small",
            *words_of_study(name, seed, self.data, self.output, self.limit),
            "corpus.epochs=100",
            "schedule.warmup=0.06",
            f"anchors.tokens=[{anchors}]",
            *self.words,
        ]

    def run(self, arm: str, seed: int) -> RunFolder:
        return RunFolder(self.output / arm / f"seed-{seed}")

    def teachers(self) -> list[Path]:
        return [self.run("teacher", seed).revisions / f"seed-{seed}" for seed in TEACHER_SEEDS]

    def student(self, arm: str, seed: int) -> list[str]:
        tokens = self.tokens
        if "_like_" in arm:
            other = last_anchor(self.run(arm.partition("_like_")[2], seed))
            batch = other.exact_tokens // other.step
            per_token = other.flops / other.exact_tokens
            tokens = round((other.flops + (other.flops_teachers or 0)) / per_token / batch) * batch
        names = ", ".join(map(str, self.teachers()))
        taught = [f"distillation.teachers=[{names}]"] if ARMS[arm] else []
        return [*self.common(arm, seed, tokens), *STUDENT, *taught, *ARMS[arm]]


def last_anchor(run: RunFolder) -> AnchorDocument:
    return anchors_of(run)[-1][1]


def anchors_of(run: RunFolder) -> list[tuple[Path, AnchorDocument]]:
    """In the order of their tokens."""
    folders = run.revisions.glob("*-tokens-*")
    return sorted(((one, AnchorDocument.read(one)) for one in folders), key=lambda pair: pair[1].exact_tokens)


def missing(study: Study, num_seeds: int) -> Iterator[list[str]]:
    """The words of each run that is not done; those that are like another one are asked for when it is."""
    for seed in TEACHER_SEEDS:
        if not is_complete(study.run("teacher", seed)):
            yield [*study.common("teacher", seed, study.teacher_tokens), "evaluation.at_anchors=false"]
    for seed, arm in product(range(num_seeds), ARMS):
        if not is_complete(study.run(arm, seed)):
            yield study.student(arm, seed)


@dataclass(frozen=True)
class Point:
    """The end of a run."""

    tokens: int
    flops: float
    loss: float
    blimp: float
    """In percent; NaN where it was not scored."""


def point_of(run: RunFolder) -> Point:
    folder, anchor = anchors_of(run)[-1]
    scores = scores_of(run.results_of(folder.name), [TASK])
    assert anchor.dev_loss is not None
    blimp = next((value for name, value in scores.items() if name.startswith(f"{TASK}/acc")), math.nan)
    return Point(anchor.exact_tokens, anchor.flops + (anchor.flops_teachers or 0), anchor.dev_loss, 100 * blimp)


def summary(study: Study, num_seeds: int) -> tuple[str, dict[str, Differences]]:
    """What is done, as Markdown, and the differences of held-out loss by way of comparing."""
    ends: dict[str, dict[int, Point]] = {}
    for arm, seed in product(ARMS, range(num_seeds)):
        if is_complete(study.run(arm, seed)):
            ends.setdefault(arm, {})[seed] = point_of(study.run(arm, seed))
    lines = [
        "| arm | seeds | tokens | FLOPs with teachers | held-out loss | BLiMP |",
        "|---|---|---|---|---|---|",
    ]
    for arm, points in ends.items():
        every = list(points.values())
        cells = [arm, str(len(every)), format_tokens(every[0].tokens), format_short(every[0].flops)]
        cells += [mean_text([one.loss for one in every], 4), mean_text([one.blimp for one in every], 2)]
        lines.append(f"| {' | '.join(cells)} |")
    panels = {}
    for title, pairs in PAIRS.items():
        losses, blimp = dict[str, dict[int, float]](), dict[str, dict[int, float]]()
        for arm, other in pairs:
            for seed in sorted(ends.get(arm, {}).keys() & ends.get(other, {}).keys()):
                one, two = ends[arm][seed], ends[other][seed]
                losses.setdefault(arm, {})[seed] = one.loss - two.loss
                blimp.setdefault(arm, {})[seed] = one.blimp - two.blimp
        panels[title] = Differences(losses)
        columns = panels[title].texts(4), Differences(blimp).texts(2)
        lines += ["", f"Differences {title} (arm minus the other, seed by seed):", ""]
        lines += ["| arm | beside | held-out loss | BLiMP |", "|---|---|---|---|"]
        for arm, other in pairs:
            if arm in losses:
                lines.append(f"| {' | '.join([arm, other, *(column[arm] for column in columns)])} |")
    lines += ["", INTERVALS, "FLOPs of the teachers' own training are not counted."]
    return "\n".join(lines) + "\n", panels


def main() -> int:
    parser = study_options(__doc__, "outputs/distillation_study", "7M")
    parser.add_argument("--teacher-tokens", type=parse_count, default=7_000_000)
    parser.add_argument("words", nargs="*", metavar="section.key=value")
    options = parser.parse_intermixed_args()
    study = Study(
        options.data.resolve(),
        options.output.resolve(),
        options.tokens,
        options.teacher_tokens,
        options.limit,
        tuple(options.words),
    )
    if not options.only_summary and (code := run_all(("lmeff.run", *words) for words in missing(study, options.seeds))):
        return code
    text, panels = summary(study, options.seeds)
    study.output.mkdir(parents=True, exist_ok=True)
    (study.output / "summary.md").write_text(text)
    if any(one.of_arms for one in panels.values()):
        write_figure(panels, "plain training", study.output / "distillation.svg")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
