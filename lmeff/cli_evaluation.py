"""The verbs of `lmeff` that score models. Nothing heavy is imported before a verb needs it."""

import argparse
from collections.abc import Callable, Sequence
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
    changes = {name: value for name in ("limit", "precision", "batch_size") if (value := getattr(options, name))}
    subjects = evaluate_folders(options.what, tasks, revisions, changes, output, every, options.exact, options.follow)
    if options.publish:
        publish_results(options.what, subjects)


def _batch_size(text: str) -> int | str:
    return text if text == "auto" else positive_int(text)


def lm_eval(arguments: Sequence[str]) -> int:
    """`lmeff lm-eval ...`: lm-eval's own command line with the model `lmeff`, and our tasks where no folder is named."""
    import sys

    from lm_eval.__main__ import cli_evaluate
    from lm_eval.api.registry import model_registry

    from lmeff.evaluation.tasks import tasks_folder

    if "lmeff" not in model_registry:
        model_registry.register("lmeff", target="lmeff.evaluation.language_model:LmeffLM")
    named = any(word.split("=")[0] in ("--include_path", "--config") for word in arguments)
    ours = [] if named or not arguments or arguments[0] not in ("run", "validate", "ls") else tasks_folder()
    before = sys.argv
    sys.argv = ["lm-eval", *arguments, *(["--include_path", str(ours)] if ours else [])]
    try:
        cli_evaluate()
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else int(left.code is not None)
    finally:
        sys.argv = before
    return 0


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
    text = "adaptive: in bfloat16, and in float32 only what could come out otherwise (default: the recipe's, float32)"
    sub.add_argument("--precision", choices=["float32", "adaptive"], help=text)
    sub.add_argument("--exact", action="store_true", help="lm-eval's own scoring in place of the fast one, bit for bit")
    sub.add_argument("--batch-size", type=_batch_size, metavar="N|auto", help="texts scored at once (the recipe's)")
    text = "score revisions as a run saves them, until it ends: evaluation that training does not wait for"
    sub.add_argument("--follow", action="store_true", help=text)
    sub.add_argument("--output", metavar="DIR", help="where results go (default: RUN/results or outputs/eval/NAME)")
