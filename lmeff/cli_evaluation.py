"""The verbs of `lmeff` that score models. Nothing heavy is imported before a verb needs it."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from lmeff.argument_types import positive_int


def _tasks(options: argparse.Namespace) -> None:
    from lmeff.evaluation.tasks import own_task_names, tasks_folder

    print("\n".join(own_task_names()) if options.list else tasks_folder())


def _eval(options: argparse.Namespace) -> None:
    from lmeff.evaluation.folders import evaluate_folders

    tasks = options.tasks.split(",") if options.tasks else None
    every = options.revisions == "all"
    revisions = options.revisions.split(",") if options.revisions and not every else None
    output = Path(options.output) if options.output else None
    if options.publish:
        from lmeff.publishing.results import check_publishable, publish_results

        check_publishable(options)
    subjects = evaluate_folders(options.what, tasks, revisions, options.limit, output, every)
    if options.publish:
        publish_results(options.what, subjects)


def _weights(options: argparse.Namespace) -> None:
    from lmeff.evaluation.weights_results import weigh, weights_table

    every = options.revisions == "all"
    revisions = options.revisions.split(",") if options.revisions and not every else None
    rows = weigh(options.what, revisions, every, Path(options.output) if options.output else None)
    print(json.dumps(rows, indent=2, allow_nan=False) if options.json else weights_table(rows))


def add_evaluation_verbs(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds them; `verb(name, action, summary)` makes the parser of one."""
    sub = verb("tasks", _tasks, "the folder of lm-eval tasks, for --include_path")
    sub.add_argument("--list", action="store_true", help="print the names of the tasks instead")
    sub = verb(
        "eval", _eval, "score the revisions of a run or of a Hub repository, or a model folder, on lm-eval tasks"
    )
    sub.add_argument(
        "what", metavar="WHAT", help="a run folder, a model folder, or NAMESPACE/REPO[@REVISION] on the Hub"
    )
    sub.add_argument("--tasks", metavar="T,...", help="lm-eval tasks or groups (default: the recipe's)")
    sub.add_argument(
        "--revisions", metavar="all|NAME,...", help="which revisions (default for a run: all; for the Hub: say which)"
    )
    sub.add_argument("--publish", action="store_true", help="add the results to the card and branch they belong to")
    sub.add_argument("--limit", type=positive_int, metavar="N", help="only the first N examples of each task")
    sub.add_argument("--output", metavar="DIR", help="where results go (default: RUN/results or outputs/eval/NAME)")
    sub = verb("weights", _weights, "norms and effective ranks of the weights of models, and how they move along a run")
    sub.add_argument("what", nargs="+", metavar="WHAT", help="run folders, model folders, or NAMESPACE/REPO[@REVISION]")
    sub.add_argument("--revisions", metavar="all|NAME,...", help="which revisions (default for a run: all)")
    sub.add_argument("--output", metavar="DIR", help="where results go (default: RUN/results or outputs/eval/NAME)")
    sub.add_argument("--json", action="store_true")
