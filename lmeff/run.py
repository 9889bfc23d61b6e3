"""The main job: recipe -> corpora -> tokens -> models -> revisions -> training and evaluation -> analysis.

    accelerate launch -m lmeff.run recipes/quickstart.yaml
    accelerate launch --config_file launchers/zero2.yaml -m lmeff.run recipes/180m_hybrid.yaml seed=1 batch.micro=64
    accelerate launch -m lmeff.run recipes/a.yaml recipes/b.yaml --index 1

Every process of a launch runs this file. Exit codes: 0, 1 (it failed), 2 (the input is wrong), 75 (interrupted; run again).
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from lmeff.errors import EXIT_FAILED, RunFailed
from lmeff.evaluation.tasks.checks import check_tasks, check_without_lm_eval, fetch_data
from lmeff.formats.run_folder import RunFolder
from lmeff.hub.account import namespace
from lmeff.hub.names import hub_names
from lmeff.plan import check_data, make_plan
from lmeff.plan.text import format_start
from lmeff.progress import shown
from lmeff.publishing.folder import undelivered
from lmeff.runs.command_line import Asked, read_arguments
from lmeff.runs.extension import check_extension, is_finished, take_recipe
from lmeff.runs.folder import check_same_recipe, claimed_by_first, finished_words, is_complete
from lmeff.runs.launcher import settle_launch
from lmeff.runs.process import launched_rank, launched_world_size, leave, outcome, report_failure
from lmeff.runs.signals import StopRequests
from lmeff.runs.state import RunState, read_state


def run(asked: Asked, folder: Path, state: RunState, stop: StopRequests, changes: list[str]) -> None:
    """One run from its text to its report. Raises InputError, RunFailed and Interrupted."""
    resolved, recipe, run_folder = asked.resolved, asked.resolved.recipe, RunFolder(folder)

    # ---- the plan, and whether every task and its data is there
    plan = make_plan(recipe, world_size=launched_world_size())
    state.anchors = plan.anchors
    names = hub_names(recipe, plan, namespace()) if recipe.publish.to == "hub" else None
    wanted = recipe.evaluation
    check_without_lm_eval(wanted.tasks, wanted.include_path, wanted.paths)
    if launched_rank() == 0:
        state.write("running")
        print(format_start(recipe, plan, folder), flush=True)

    # ---- text and tokens: once, before any process group exists; the other processes wait at a file lock
    from lmeff.tokens import positions_per_epoch, prepare_run

    corpus, tokens = prepare_run(recipe, folder, accept_other=asked.accept_changes)
    check_data(recipe, positions_per_epoch(tokens, recipe.batch))

    # ---- evaluation: what lm-eval itself must read, and data of the Hub, before a step is trained
    with shown("loading PyTorch"):
        from lmeff.evaluation.results import scores_of
        from lmeff.measures.of_run import RunMeasures

    check_tasks(wanted.tasks, wanted.include_path, wanted.paths)
    if wanted.at_anchors:
        fetch_data(wanted.tasks, wanted.paths)
    measures = RunMeasures(recipe, run_folder, stop.check)

    # ---- nothing is wrong with the input: the recipe becomes that of the folder, and a complete run is one no more
    take_recipe(folder, resolved, state, changes)

    # ---- model and training: anchors become revisions on the way, and go to the Hub from a process beside it
    from lmeff.publishing.courier import Courier, say_what_is_left
    from lmeff.revisions import provenance
    from lmeff.revisions.card import model_card

    with shown("loading transformers"):
        from lmeff.training.engines.engine import settle_process

        settle_process(recipe.deterministic)
        from lmeff.training.job import Job, finish_state, train

    courier = Courier(folder, recipe, names if launched_rank() == 0 else None)
    job = Job(
        *(recipe, folder, tokens, state),
        recipe_yaml=resolved.to_yaml(),
        provenance=provenance(resolved.provenance, corpus.manifest, tokens.manifest),
        write_card=lambda plan, anchor, revision: model_card(recipe, plan, anchor, revision),
        evaluate=measures.at_anchor if measures.are_at_anchors else None,
        stop=stop,
        accepted_changes=changes if asked.accept_changes else None,
        on_saved=courier.add,
        may_replace=courier.may_replace,
        scores=lambda revision: scores_of(run_folder.results_of(revision.name), wanted.tasks),
    )
    with courier:
        plan = train(job, asked.part)
        if launched_rank() == 0:
            measures.after_training()
        if launched_rank() == 0 and not recipe.publish.require:
            finish_state(job, plan)
        left = courier.finish()

    # ---- analysis
    from lmeff.analysis import print_curves, read_runs
    from lmeff.publishing.pages import write_pages

    if launched_rank() == 0:
        if recipe.publish.require:
            if left:
                raise RunFailed(say_what_is_left(folder, left))
            finish_state(job, plan)
        report = write_pages(folder)
        print(print_curves(read_runs([folder])), report, sep="\n")
        if left:
            print(say_what_is_left(folder, left))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a recipe; returns the exit code."""
    with (stop := StopRequests()).listening():
        return _main(argv, stop)


def _main(argv: Sequence[str] | None, stop: StopRequests) -> int:
    state = None
    with ExitStack() as held:
        try:
            asked = read_arguments(argv, __doc__)
            folder, recipe = RunFolder.of(asked.resolved.recipe).path, asked.resolved.recipe
            changes = check_same_recipe(folder, asked.resolved, asked.accept_changes)
            check_extension(folder, recipe, changes)
            before = read_state(asked.folder)
            if is_finished(folder, recipe, asked.part):
                left = undelivered(folder, recipe)
                if launched_rank() == 0:
                    print(finished_words(asked.folder, asked.resolved, before.tokens, left))
                return EXIT_FAILED if recipe.publish.require and left else 0
            settle_launch(asked.resolved)
            held.enter_context(claimed_by_first(asked.folder))
            state = RunState(asked.folder, recipe.batch.clock, before, is_withheld=is_complete(folder))
            if not (changes or state.is_withheld):
                take_recipe(folder, asked.resolved, state, changes)
            run(asked, folder, state, stop, changes)
            return 0
        except (Exception, KeyboardInterrupt) as error:
            stop.ignore()
            code, word, message = outcome(error)
        report_failure(state, word, message)
    return code


if __name__ == "__main__":
    leave(main())
