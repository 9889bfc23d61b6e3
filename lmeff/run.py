"""The main job: recipe -> corpora -> tokens -> models -> revisions -> training and evaluation -> analysis.

    accelerate launch -m lmeff.run recipes/quickstart.yaml
    accelerate launch --config_file launchers/zero2.yaml -m lmeff.run recipes/180m_hybrid.yaml seed=1 batch.micro=64
    accelerate launch -m lmeff.run recipes/a.yaml recipes/b.yaml --index 1

Every process of a launch runs this file. Exit codes: 0, 1 (it failed), 2 (the input is wrong), 75 (interrupted; run again).
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from lmeff.command_line import Asked, read_arguments
from lmeff.errors import RunFailed
from lmeff.files import write_text
from lmeff.plan import check_data, make_plan
from lmeff.plan_text import format_start
from lmeff.revisions.account import namespace
from lmeff.revisions.names import hub_names
from lmeff.training.folder import check_same_recipe, claimed_by_first, finished_words, record_changes, run_folder
from lmeff.training.process import launched_rank, launched_world_size, leave, outcome, report_failure
from lmeff.training.signals import StopRequests
from lmeff.training.state import RunState, read_state


def run(asked: Asked, folder: Path, state: RunState, stop: StopRequests, changes: list[str] | None) -> None:
    """One run from its text to its report. Raises InputError, RunFailed and Interrupted."""
    resolved, recipe = asked.resolved, asked.resolved.recipe

    # ---- the plan
    plan = make_plan(recipe, world_size=launched_world_size())
    state.anchors = plan.anchors
    names = hub_names(recipe, plan, namespace()) if recipe.publish.to == "hub" else None
    if launched_rank() == 0:
        state.write("running")
        print(format_start(recipe, plan, folder), flush=True)

    # ---- text and tokens: once, before any process group exists; the other processes wait at a file lock
    from lmeff.corpora import prepare_text
    from lmeff.tokens import positions_per_epoch, prepare_tokenizer, prepare_tokens

    corpus = prepare_text(recipe.corpus, recipe.paths.data)
    tokens = prepare_tokens(corpus, prepare_tokenizer(corpus, recipe.tokenizer.vocab_size, recipe.tokenizer.sample))
    check_data(recipe, positions_per_epoch(tokens, recipe.batch))

    # ---- evaluation: every task and its data must be there before a step is trained
    from accelerate import PartialState

    from lmeff.evaluation.folders import evaluate_together
    from lmeff.evaluation.tasks import check_tasks, fetch_data
    from lmeff.evaluation.weights_results import measure_finished

    wanted = recipe.evaluation
    check_tasks(wanted.tasks, wanted.include_path, wanted.paths)
    if wanted.at_anchors:
        fetch_data(wanted.tasks, wanted.paths)

    evaluate = evaluate_together(
        wanted,
        folder / "results",
        (launched_rank(), launched_world_size()),
        wait_for_everyone=lambda: PartialState().wait_for_everyone(),
        before_batch=stop.check,
    )

    # ---- model and training: anchors become revisions on the way, and go to the Hub from a process beside it
    from lmeff.publishing.courier import Courier, say_what_is_left
    from lmeff.revisions import provenance
    from lmeff.revisions.card import model_card
    from lmeff.training.engine import settle_process

    settle_process(recipe.deterministic)
    from lmeff.training.job import Job, finish_state, train

    courier = Courier(folder, recipe, names if launched_rank() == 0 else None)
    job = Job(
        recipe,
        folder,
        tokens,
        state,
        recipe_yaml=resolved.to_yaml(),
        provenance=provenance(resolved.provenance, corpus.manifest, tokens.manifest),
        write_card=lambda plan, anchor, revision: model_card(recipe, plan, anchor, revision),
        evaluate=evaluate if wanted.at_anchors and (wanted.tasks or wanted.weights) else None,
        stop=stop,
        accepted_changes=changes,
        on_saved=courier.add,
        may_replace=courier.may_replace,
    )
    with courier:
        plan = train(job, asked.part)
        if launched_rank() == 0 and wanted.at_anchors and wanted.weights:
            measure_finished(folder)
        if launched_rank() == 0 and not recipe.publish.require:
            finish_state(job, plan)
        left = courier.finish()

    # ---- analysis
    from lmeff.analysis import show_run
    from lmeff.publishing.cards import refresh_cards

    if launched_rank() == 0:
        if recipe.publish.require:
            if left:
                raise RunFailed(say_what_is_left(folder, left))
            finish_state(job, plan)
        refresh_cards(folder)
        show_run(folder)
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
            folder = run_folder(asked.resolved)
            changes = check_same_recipe(folder, asked.resolved, asked.accept_changes)
            before = read_state(asked.folder)
            if before and before.state == "complete":
                if launched_rank() == 0:
                    print(finished_words(asked.folder, asked.resolved, before.tokens))
                    print(f"report: {folder / 'report.html'}")
                return 0
            held.enter_context(claimed_by_first(asked.folder))
            if launched_rank() == 0:
                record_changes(folder, before.step if before else 0, changes)
                write_text(folder / "recipe.yaml", asked.resolved.to_yaml())
            state = RunState(asked.folder, asked.resolved.recipe.batch.tokens, before)
            run(asked, folder, state, stop, changes if asked.accept_changes else None)
            return 0
        except (Exception, KeyboardInterrupt) as error:
            stop.ignore()
            code, word, message = outcome(error)
        report_failure(state, word, message)
    return code


if __name__ == "__main__":
    leave(main())
