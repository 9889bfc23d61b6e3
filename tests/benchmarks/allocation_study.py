"""How two million parameters are best divided, on one real text: the six published designs over seeds, at equal tokens.

    python tests/benchmarks/allocation_study.py [--data DIR] [--output outputs/allocation_study] [--tokens 300k] [--seeds 3]
        [--limit 100] [--jobs 1] [--profile] [--only-summary] [section.key=value ...]

The designs of stellux's study, embedding shares of 25, 35 and 45% at a feed-forward factor of 2.66 and factors of 2, 3 and 4 at
35%, as Llamas of 2M parameters with tied embeddings of 4,096 entries on Leaner, all with the same tokens, and as many in each
step. They differ in depth, and share one learning rate. What a user would do, end to end: a sweep's file, `lmeff sweep run`,
`lmeff sweep rank` and `lmeff report`. The same command again skips what is done and goes on with what was stopped. Runs take
one thread each, or OMP_NUM_THREADS. Further words are those of the sweep, such as design=share_35. Writes
`allocation_study.yaml`, `summary.md` and `report.html` into the output folder.
"""

import subprocess
import sys
from pathlib import Path

sys.path[:0] = map(str, (Path(__file__).parent, Path(__file__).resolve().parents[2]))

import yaml  # noqa: E402
from studies import is_complete, run_all, study_environment, study_options, words_of_study  # noqa: E402

from lmeff.plan import make_plan  # noqa: E402
from lmeff.quantities import format_short  # noqa: E402
from lmeff.sweeps.cases import Sweep, read_sweep  # noqa: E402

NAME = "allocation_study"
DESIGNS = {
    "share_25": (0.25, 2.66),
    "share_35": (0.35, 2.66),
    "share_45": (0.45, 2.66),
    "factor_2": (0.35, 2),
    "factor_3": (0.35, 3),
    "factor_4": (0.35, 4),
}
"""Embedding share and feed-forward factor by the design's name."""
ANCHOR_SHARES = (0, 1 / 4, 1 / 2, 1)


def sweep_text(tokens: int, seeds: int) -> str:
    """The sweep's file."""
    designs = {
        name: {"model.budget.embedding_share": share, "model.budget.glu_factor": factor}
        for name, (share, factor) in DESIGNS.items()
    }
    fixed = {
        "corpus.name": "leaner",
        "corpus.epochs": 100,
        "tokenizer.vocab_size": 4096,
        "model.budget.parameters": 2_000_000,
        "batch.tokens": 2048,
        "batch.sequence_length": 128,
        "optimizer.learning_rate": 3e-3,
        "optimizer.weight_decay": 0.1,
        "schedule.warmup": 0.1,
        "anchors.tokens": [int(tokens * share) for share in ANCHOR_SHARES],
        "evaluation.tasks": ["lmeff_blimp"],
        "evaluation.dev_tokens": 20_000,
    }
    study = {"sweep": NAME, "recipe": "allocation/llama_10m", "seeds": list(range(seeds))}
    study["axes"] = {"design": {name: {**fixed, **values} for name, values in designs.items()}}
    return yaml.safe_dump(study, sort_keys=False)


def shapes(sweep: Sweep) -> str:
    """What was found for each design, as Markdown."""
    lines = [
        "| design | parameters | embeddings | width | feed-forward | factor | layers | FLOPs |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for case in {case.name: case for case in sweep.cases}.values():
        plan = make_plan(case.recipe)
        assert plan.budget is not None
        found = plan.budget.found
        width, inner, layers, _ = found.fields.values()
        cells = [case.name, f"{found.parameters:,}", f"{found.embedding_share:.1%}", str(width), str(inner)]
        cells += [f"{found.glu_factor:.2f}", str(layers), format_short(plan.total_flops)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    parser = study_options(__doc__, f"outputs/{NAME}", "300k")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--profile", action="store_true", help="measure what the final models cost, too")
    parser.add_argument("words", nargs="*", metavar="section.key=value")
    options = parser.parse_intermixed_args()
    output = options.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    file = output / f"{NAME}.yaml"
    file.write_text(sweep_text(options.tokens, options.seeds))
    common = words_of_study(NAME, 0, options.data.resolve(), output, options.limit)
    words = [str(file), *(word for word in common if not word.startswith(("name=", "seed="))), *options.words]
    sweep = read_sweep(words[0], words[1:])
    run = ("lmeff.cli", "sweep", "run", *words, "--launcher", "cpu", "--jobs", str(options.jobs))
    if not options.only_summary and (code := run_all([(*run, *(["--profile"] if options.profile else []))])):
        return code
    ranked = subprocess.run(
        [sys.executable, "-m", "lmeff.cli", "sweep", "rank", *words],
        env=study_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    text = f"{shapes(sweep)}\n\n```\n{(ranked.stdout or ranked.stderr).strip()}\n```\n"
    (output / "summary.md").write_text(text)
    print(text)
    done = [str(case.run) for case in sweep.cases if is_complete(case.run)]
    return run_all([("lmeff.cli", "report", *done, "-o", str(output / "report.html"))]) if done else ranked.returncode


if __name__ == "__main__":
    sys.exit(main())
