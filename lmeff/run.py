"""The main job: recipe -> corpora -> tokens -> models -> revisions -> training and evaluation -> analysis.

    accelerate launch -m lmeff.run recipes/quickstart.yaml
    accelerate launch --config_file launchers/zero2.yaml -m lmeff.run recipes/180m_hybrid.yaml seed=1 batch.micro=64
    accelerate launch -m lmeff.run recipes/a.yaml recipes/b.yaml --index 1

Every process of a launch runs this file. Exit codes: 0, 1 (it failed), 2 (the input is wrong), 75 (interrupted; run again).
"""

import argparse
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from lmeff.errors import EXIT_FAILED, EXIT_INPUT, EXIT_INTERRUPTED, InputError, RunFailed
from lmeff.plan import check_data, make_plan
from lmeff.recipe import Resolved, read_recipe
from lmeff.training.folder import check_same_recipe, claimed, finished_words, run_folder
from lmeff.training.process import launched_rank, launched_world_size, leave, report_failure
from lmeff.training.state import RunState, read_state


def read_arguments(argv: Sequence[str] | None) -> Resolved:
    """The recipe to run."""
    parser = argparse.ArgumentParser(
        prog="lmeff.run", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("words", nargs="+", metavar="RECIPE.yaml | section.key=value")
    parser.add_argument("--index", type=int, help="which of several recipes to run, from 0 (the task of a Slurm array)")
    options = parser.parse_intermixed_args(argv)
    files = [word for word in options.words if "=" not in word]
    if not files:
        raise InputError("no recipe given; for example recipes/quickstart.yaml")
    if options.index is None and len(files) > 1:
        raise InputError(f"{len(files)} recipes given; say with --index N which one to run, 0 to {len(files) - 1}")
    if not 0 <= (index := options.index or 0) < len(files):
        raise InputError(f"--index {index}: there are {len(files)} recipes, 0 to {len(files) - 1}")
    return read_recipe(files[index], [word for word in options.words if "=" in word])


def run(resolved: Resolved, folder: Path, state: RunState) -> None:
    """One run from its text to its report. Raises InputError and RunFailed."""
    recipe = resolved.recipe

    # ---- the plan
    plan = make_plan(recipe, world_size=launched_world_size())
    state.anchors = plan.anchors
    if launched_rank() == 0:
        state.write("running")

    # ---- text and tokens: once, before any process group exists; the other processes wait at a file lock
    from lmeff.corpora import prepare_text
    from lmeff.tokens import prepare_tokenizer, prepare_tokens

    corpus = prepare_text(recipe.corpus, recipe.paths.data)
    tokens = prepare_tokens(corpus, prepare_tokenizer(corpus, recipe.tokenizer.vocab_size))
    check_data(recipe, tokens.train.num_tokens)

    # ---- evaluation: every task and its data must be there before a step is trained
    from accelerate import PartialState

    from lmeff.evaluation.folders import evaluation_of
    from lmeff.evaluation.tasks import check_tasks, fetch_data

    wanted = recipe.evaluation
    check_tasks(wanted.tasks, wanted.include_path, wanted.paths)
    if wanted.at_anchors:
        fetch_data(wanted.tasks, wanted.paths)

    def evaluate(revision: Path) -> None:
        evaluation = evaluation_of(wanted, revision, folder / "results" / revision.name)
        evaluation.score(launched_rank(), launched_world_size())
        PartialState().wait_for_everyone()
        if launched_rank() == 0:
            evaluation.finish(launched_world_size())

    # ---- model and training: anchors become revisions on the way
    from lmeff.revisions import model_card, provenance
    from lmeff.training.engine import settle_process

    settle_process()
    from lmeff.training.job import train

    plan = train(
        recipe,
        folder,
        tokens,
        state,
        recipe_yaml=resolved.to_yaml(),
        provenance=provenance(resolved.provenance, corpus.manifest, tokens.manifest),
        write_card=lambda plan, anchor, revision: model_card(recipe, plan, anchor, revision),
        evaluate=evaluate if wanted.tasks and wanted.at_anchors else None,
    )

    # ---- analysis
    if launched_rank() == 0:
        state.step = plan.num_steps
        state.write("complete")
        write_pages(folder)


def write_pages(folder: Path) -> None:
    """The report, and the curve as text."""
    from lmeff.analysis import print_curves, read_runs, write_report

    runs = read_runs([folder])
    write_report(runs, folder / "report.html")
    print(print_curves(runs))
    print(f"report: {folder / 'report.html'}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a recipe; returns the exit code."""
    state = None
    try:
        resolved = read_arguments(argv)
        folder = run_folder(resolved)
        check_same_recipe(folder, resolved)
        before = read_state(folder)
        if before and before.state == "complete":
            if launched_rank() == 0:
                print(finished_words(folder, resolved, before.tokens))
                print(f"report: {folder / 'report.html'}") if (folder / "report.html").exists() else write_pages(folder)
            return 0
        with claimed(folder, resolved) if launched_rank() == 0 else nullcontext():
            state = RunState(folder, resolved.recipe.batch.tokens, before)
            run(resolved, folder, state)
        return 0
    except InputError as error:
        code, word, message = EXIT_INPUT, "failed", str(error)
    except RunFailed as error:
        code, word, message = EXIT_FAILED, "failed", str(error)
    except KeyboardInterrupt:
        code, word, message = (
            EXIT_INTERRUPTED,
            "interrupted",
            "interrupted; the same command goes on from the newest checkpoint",
        )
    except Exception as error:
        traceback.print_exc()
        code, word, message = EXIT_FAILED, "failed", f"{type(error).__name__}: {error}"
    report_failure(state, word, message)
    return code


if __name__ == "__main__":
    leave(main())
