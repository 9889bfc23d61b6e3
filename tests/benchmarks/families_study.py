"""Every family and the hybrid on one real text: trains what is missing, scores it on BLiMP, and sums up what is there.

    python tests/benchmarks/families_study.py [--data DIR] [--output outputs/families_study] [--tokens 2M]
        [--seeds 3] [--limit 100] [--only-summary]

The arms are the recipes of recipes/families/ and a hybrid without masked rows. All of them take one seed before any takes the
next, one process after the other with `OMP_NUM_THREADS` threads, by default 1. The same command again skips what is done and
goes on with what was stopped, wherever that was. Decoders and XLNet are scored at every anchor, masked models at the last one
alone, by pseudo-log-likelihood. A model that spends more FLOPs a token than the others has one more anchor, where it has spent
what the cheapest spends in all. Writes `summary.md`, `families.svg` and `hybrids.svg` into the output folder.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

sys.path[:0] = map(str, (Path(__file__).parent, Path(__file__).resolve().parents[2]))

from families_summary import write_summary  # noqa: E402
from studies import is_complete, run_all, study_options, words_of_study  # noqa: E402

from lmeff.formats.run_folder import RunFolder  # noqa: E402
from lmeff.plan import make_plan  # noqa: E402
from lmeff.quantities import parse_count  # noqa: E402
from lmeff.recipe import read_recipe  # noqa: E402

TASK = "lmeff_blimp"
ARMS = {
    "llama": (),
    "hybrid": (),
    "hybrid_half": (),
    "bert": (),
    "gpt2": (),
    "modernbert": (),
    "gptj": (),
    "xlnet": (),
    "mamba2": (),
    "hybrid_zero": ("objective.masked_rows=0",),
}
"""Names of runs, and what they change in the recipe of that name; a hybrid without one of its own is families/hybrid."""
ANCHOR_SHARES = (0, 1 / 4, 1 / 2, 1)
LIKE_FLOPS = 1.03
"""What differs less in FLOPs has spent the same: two families of one width are never equal to the last matrix."""


@dataclass(frozen=True)
class Study:
    """What all arms have in common."""

    data: Path
    output: Path
    tokens: int
    limit: int

    def words(self, arm: str, seed: int) -> list[str]:
        """The recipe of an arm and what the study changes in it, but its anchors."""
        recipe = "hybrid" if arm == "hybrid_zero" else arm
        return [
            f"families/{recipe}",
            *words_of_study(arm, seed, self.data, self.output, self.limit),
            "evaluation.dev_tokens=20k",
            "schedule.warmup=0.12",  # 60 of the recipes' 489 steps
            "checkpoints.every_steps=50",
            *ARMS[arm],
        ]

    def anchors(self, arm: str) -> list[int]:
        """Where an arm is measured; with one more anchor for an arm of many FLOPs, at those of the cheapest one."""
        tokens = {int(self.tokens * share) for share in ANCHOR_SHARES}
        budget, spent = min(map(self.flops, ARMS)), self.flops(arm)
        if spent > LIKE_FLOPS * budget:
            batch = read_recipe(*self.recipe(arm)).recipe.batch.tokens
            tokens.add(int(self.tokens * budget / spent) // batch * batch)
        return sorted(tokens)

    def flops(self, arm: str) -> float:
        """FLOPs of a whole run."""
        return make_plan(read_recipe(*self.recipe(arm)).recipe).total_flops

    def recipe(self, arm: str) -> tuple[str, list[str]]:
        recipe, *words = self.words(arm, 0)
        return recipe, [*words, f"anchors.tokens=[0,{self.tokens}]"]

    def run(self, arm: str, seed: int) -> RunFolder:
        return RunFolder(self.output / arm / f"seed-{seed}")


def commands(study: Study, arm: str, seed: int) -> Iterator[tuple[str, ...]]:
    """What is left to do of one run: training, and where that does not score it, scoring its end."""
    run = study.run(arm, seed)
    if not is_complete(run):
        anchors = ",".join(map(str, study.anchors(arm)))
        yield ("lmeff.run", *study.words(arm, seed), f"anchors.tokens=[{anchors}]")
    if not read_recipe(*study.recipe(arm)).recipe.evaluation.at_anchors:
        # Named by its tokens and not `seed-S`: that is the same revision, and curves have anchors.
        revision = max(
            run.revisions.glob("*-tokens-*"), key=lambda folder: parse_count(folder.name.split("-")[-1])
        ).name
        if not (run.results_of(revision) / f"{TASK}.json").exists():
            yield ("lmeff.cli", "eval", str(run), "--revisions", revision)


def main() -> int:
    parser = study_options(__doc__, "outputs/families_study", "2M")
    options = parser.parse_args()
    study = Study(options.data.resolve(), options.output.resolve(), options.tokens, options.limit)
    runs = product(range(options.seeds), ARMS)
    if not options.only_summary and (
        code := run_all(words for seed, arm in runs for words in commands(study, arm, seed))
    ):
        return code
    print(write_summary(study.output, list(ARMS)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
