"""`lmeff finetune`: classification tasks."""

import argparse
from pathlib import Path

from lmeff.cli.argument_types import overrides_anywhere, path, positive_int
from lmeff.cli.model_options import read_selection, say
from lmeff.packages import check_package

SUMMARY = "fine-tune the same models on classification tasks, and score them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("what", type=path, metavar="WHAT", help="as for eval")
    text = "glue, superglue, babylm or leaner_glue, single tasks such as boolq, or tasks of your recipe"
    parser.add_argument("--tasks", required=True, metavar="T,...", help=text)
    text = "settings and tasks of your own (default: one learning rate, one seed, 10,000 examples)"
    parser.add_argument("--recipe", type=path, metavar="FILE.yaml", help=text)
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="key=value", help="such as epochs=3 or tasks.rte.seeds=[0,1]"
    )
    text = "folder with TASK_train.jsonl and TASK_validation.jsonl (default: LMEFF_EVAL_DATA, else the Hub)"
    parser.add_argument("--data", type=path, metavar="DIR", help=text)
    parser.add_argument("--revisions", metavar="all|NAME,...", help="as for eval")
    parser.add_argument("--limit", type=positive_int, metavar="N", help="at most N examples of every split")
    parser.add_argument("--output", type=path, metavar="DIR", help="as for eval")
    overrides_anywhere(parser)


def run(options: argparse.Namespace) -> None:
    check_package("sklearn", "lmeff finetune")
    from lmeff.measures.finetuning.measure import FinetuneOptions, Finetuning
    from lmeff.measures.measure import measured

    selection = read_selection(options)
    settings = FinetuneOptions(
        what=options.what,
        tasks=options.tasks.split(","),
        recipe=Path(options.recipe) if options.recipe else None,
        overrides=options.overrides,
        data=options.data,
        output=selection.output,
        limit=options.limit,
    )
    finetuning = Finetuning(settings)
    settings.check()
    for _ in measured(finetuning, selection.models(), say):
        pass
