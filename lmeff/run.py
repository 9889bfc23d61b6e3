"""The main job: recipe -> corpora -> tokens -> models -> revisions -> training and evaluation -> analysis.

    accelerate launch -m lmeff.run recipes/quickstart.yaml
    accelerate launch --config_file launchers/zero2.yaml -m lmeff.run recipes/180m_hybrid.yaml seed=1 batch.micro=64
    accelerate launch -m lmeff.run SWEEP.yaml --index 17

Every process of a launch runs this file. Exit codes: 0, 1 (it failed), 2 (the input is wrong), 75 (interrupted; run again).
"""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from lmeff.command_line import RunCommand, read_arguments
from lmeff.errors import EXIT_FAILED, RunFailed
from lmeff.evaluation.tasks.checks import check_names, check_without_lm_eval, fetch_data
from lmeff.formats.state import StateDocument
from lmeff.hub.account import namespace
from lmeff.hub.names import hub_names
from lmeff.logs import note, say
from lmeff.methods import check_methods, methods_of
from lmeff.models.families import check_family
from lmeff.plan import check_data, format_start, make_plan
from lmeff.progress import shown
from lmeff.publishing.folder import undelivered, undelivered_text
from lmeff.runs.changes import check_same_recipe
from lmeff.runs.claim import claimed_on_rank_zero
from lmeff.runs.completed import complete_text, is_complete
from lmeff.runs.extension import check_extension, finished_state, replace_recipe
from lmeff.runs.failure import outcome, report_failure
from lmeff.runs.launch import override_launcher
from lmeff.runs.process import launched_rank, launched_world_size, leave
from lmeff.runs.signals import StopRequests
from lmeff.runs.state import RunState


def run_recipe(command: RunCommand, state: RunState, stop: StopRequests, changes: list[str]) -> None:
    """One run from its text to its report. Raises InputError, RunFailed and Interrupted."""
    run, recipe, evaluation = command.run, command.recipe, command.recipe.evaluation
    is_first = launched_rank() == 0

    # ---- plan, and whether every task and its data is there
    check_family(command.resolved)
    plan = make_plan(recipe, world_size=launched_world_size())
    state.anchors = plan.anchors
    names = hub_names(recipe, plan, namespace()) if recipe.publish.to == "hub" else None
    check_without_lm_eval(evaluation.tasks, evaluation.include_path, evaluation.paths)
    check_methods(recipe, command.resolved)
    if is_first:
        state.write("running")
        say(format_start(recipe, plan, run))

    # ---- text and tokens: once, before any process group exists; the other processes wait at a file lock
    from lmeff.tokens import positions_per_epoch, prepare_run

    corpus, tokens = prepare_run(recipe, run.path, accept_other=command.accept_changes, say=note if is_first else None)
    check_data(recipe, positions_per_epoch(tokens, recipe.batch))

    # ---- evaluation: what lm-eval itself must read, and data of the Hub, before a step is trained
    with shown("loading PyTorch"):
        from lmeff.measures.of_run import RunMeasures

    check_names(evaluation.tasks, evaluation.include_path)
    fetch_data(evaluation.tasks if evaluation.at_anchors else (), evaluation.paths)
    measures = RunMeasures(recipe, run, stop.check)

    # ---- nothing is wrong with the input: the run has this recipe now, and is not complete any more if it was
    replace_recipe(run, command.resolved, state, changes)

    # ---- model and training: anchors become revisions on the way, and go to the Hub from a process beside it
    from lmeff.publishing.courier import Courier
    from lmeff.revisions import provenance
    from lmeff.revisions.card import model_card

    with shown("loading transformers"):
        from lmeff.training.engines.engine import prepare_process

        prepare_process(recipe.is_deterministic)
        from lmeff.training.job import Job
        from lmeff.training.train import finish_state, train

    courier = Courier(run.path, recipe, names if is_first else None)
    job = Job(
        recipe=recipe,
        run=run,
        tokens=tokens,
        run_state=state,
        recipe_yaml=command.resolved.to_yaml(),
        provenance=provenance(command.resolved.provenance, corpus.manifest, tokens.manifest),
        write_card=partial(model_card, recipe),
        measures=command.at_rungs(measures, stop),
        stop=stop,
        accepted_changes=changes if command.accept_changes else None,
        listener=courier,
        methods=methods_of(recipe, tokens),
    )
    with courier:
        plan = train(job, command.part)
        if is_first:
            for name in measures.after_training():
                courier.measured(name)
        if is_first and not recipe.publish.require:
            finish_state(job, plan)
        left = courier.finish()

    # ---- analysis
    from lmeff.analysis import print_curves, read_runs
    from lmeff.publishing.pages import write_pages

    if is_first:
        if recipe.publish.require:
            if left:
                raise RunFailed(undelivered_text(run.path, left))
            finish_state(job, plan)
        say(f"{print_curves(read_runs([run.path]))}\n{write_pages(run.path)}")
        if left:
            say(undelivered_text(run.path, left))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a recipe; returns the exit code."""
    state = None
    with (stop := StopRequests()).listening(), ExitStack() as held:
        try:
            command = read_arguments(argv, __doc__)
            run, recipe = command.run, command.recipe
            changes = check_same_recipe(run, command.resolved, command.accept_changes, command.part)
            check_extension(run, recipe, changes)
            if finished := finished_state(run, recipe, command.part):
                left = undelivered(run.path, recipe)
                if launched_rank() == 0:
                    say(complete_text(run, recipe, command.folder, finished, left))
                return EXIT_FAILED if recipe.publish.require and left else 0
            before = StateDocument.read(command.folder)
            override_launcher(command.resolved)
            held.enter_context(claimed_on_rank_zero(command.folder))
            state = RunState(command.folder, recipe.batch.clock, before, is_withheld=is_complete(run))
            if not (changes or state.is_withheld):
                replace_recipe(run, command.resolved, state, changes)
            run_recipe(command, state, stop, changes)
            return 0
        except (Exception, KeyboardInterrupt) as error:
            stop.ignore()
            code, word, message = outcome(error, state.folder if state else None)
        report_failure(state, word, message)
    return code


if __name__ == "__main__":
    leave(main())
