"""The verbs of `lmeff` that score models. Nothing heavy is imported before a verb needs it."""

import argparse
import re
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


def _finetune(options: argparse.Namespace) -> None:
    from lmeff.evaluation.finetuning.folders import Request, finetune_folders

    every = options.revisions == "all"
    finetune_folders(
        Request(
            what=options.what,
            tasks=options.tasks.split(","),
            revisions=options.revisions.split(",") if options.revisions and not every else None,
            every=every,
            recipe=Path(options.recipe) if options.recipe else None,
            overrides=options.overrides,
            data=options.data,
            output=Path(options.output) if options.output else None,
            limit=options.limit,
        )
    )


def _take_overrides(parser: argparse.ArgumentParser) -> None:
    """Lets `key=value` words stand anywhere: argparse wants all positional arguments of a verb side by side."""
    parse = parser.parse_known_args

    def parse_known_args(args: list[str], namespace: argparse.Namespace | None = None):
        def is_value(index: int) -> bool:
            return index > 0 and args[index - 1].startswith("--") and "=" not in args[index - 1]

        words = [n for n, word in enumerate(args) if re.match(r"[A-Za-z_][\w.-]*=", word) and not is_value(n)]
        found, unknown = parse([word for n, word in enumerate(args) if n not in words], namespace)
        found.overrides += [args[n] for n in words]
        return found, unknown

    parser.parse_known_args = parse_known_args


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
    sub = verb("finetune", _finetune, "fine-tune the same models on classification tasks, and score them")
    sub.add_argument("what", metavar="WHAT", help="as for eval")
    text = "glue, superglue, babylm or leaner_glue, single tasks such as boolq, or tasks of your recipe"
    sub.add_argument("--tasks", required=True, metavar="T,...", help=text)
    text = "settings and tasks of your own (default: one learning rate, one seed, 10,000 examples)"
    sub.add_argument("--recipe", metavar="FILE.yaml", help=text)
    sub.add_argument("overrides", nargs="*", metavar="key=value", help="such as epochs=3 or tasks.rte.seeds=[0,1]")
    text = "folder with TASK_train.jsonl and TASK_validation.jsonl (default: LMEFF_EVAL_DATA, else the Hub)"
    sub.add_argument("--data", metavar="DIR", help=text)
    sub.add_argument("--revisions", metavar="all|NAME,...", help="as for eval")
    sub.add_argument("--limit", type=positive_int, metavar="N", help="at most N examples of every split")
    sub.add_argument("--output", metavar="DIR", help="as for eval")
    _take_overrides(sub)
