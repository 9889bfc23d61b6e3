"""`lmeff eval`: scores on lm-eval tasks."""

import argparse
from pathlib import Path

from lmeff.cli.argument_types import path, positive_int
from lmeff.cli.model_options import add_what, read_selection, say
from lmeff.errors import InputError

SUMMARY = "score the revisions of a run or of a Hub repository, or a model folder, on lm-eval tasks"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    add_what(parser)
    parser.add_argument("--tasks", metavar="T,...", help="lm-eval tasks or groups (default: the recipe's)")
    text = "local data by name, such as blimp=DIR; may be repeated (default: the recipe's, LMEFF_EVAL_DATA, the Hub)"
    parser.add_argument("--path", type=_named_folder, action="append", default=[], metavar="NAME=DIR", help=text)
    parser.add_argument(
        "--include-path", type=path, metavar="DIR", help="folder with lm-eval task files of your own (the recipe's)"
    )
    parser.add_argument("--publish", action="store_true", help="add the results to the card and branch they belong to")
    parser.add_argument("--limit", type=positive_int, metavar="N", help="only the first N examples of each task")
    text = (
        "adaptive: minimal pairs in bfloat16, and in float32 too where that could change them (the recipe's, float32)"
    )
    parser.add_argument("--precision", choices=["float32", "adaptive"], help=text)
    text = "what a context begins with: one <s>, or what the tokenizer puts there by itself (the recipe's, bos)"
    parser.add_argument("--context-start", choices=["bos", "tokenizer"], help=text)
    text = (
        "auto: causal, or what suits a model that sees later tokens; pseudo_log_likelihood: also hybrids (the recipe's)"
    )
    ways = ["auto", "causal", "pseudo_log_likelihood", "pseudo_log_likelihood_original"]
    parser.add_argument("--scoring", choices=ways, help=text)
    parser.add_argument("--exact", action="store_true", help="lm-eval's own scoring in place of the fast one")
    parser.add_argument("--batch-size", type=_batch_size, metavar="N|auto", help="texts scored at once (the recipe's)")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: the GPU where there is one")
    text = "score revisions as a run saves them, until it ends: evaluation that training does not wait for"
    parser.add_argument("--follow", action="store_true", help=text)


def run(options: argparse.Namespace) -> None:
    from lmeff.cli.input_checks import (
        check_device,
        check_eval_tasks,
        check_models,
        check_publishable,
        missing_revision,
    )
    from lmeff.measures.scores.options import check_eval, section_of

    check_device(options.device)
    tasks = options.tasks.split(",") if options.tasks else None
    selection = read_selection(options)
    names = ("limit", "precision", "context_start", "scoring", "batch_size", "include_path")
    changes = {name: value for name in names if (value := getattr(options, name))}
    check_eval(options.what, changes, selection.output, options.exact, options.follow)
    if not options.follow:
        check_models(selection)
    if options.publish:
        check_publishable(options.what, options.limit, selection.output)
    try:
        check_eval_tasks(options.what, tasks, options.include_path, dict(options.path))
    except InputError as error:  # told together with what only the Hub would be asked
        raise InputError(*missing_revision(selection), *error.mistakes) from None
    from lmeff.measures.measure import measured, measured_each
    from lmeff.measures.scores.following import follow_run
    from lmeff.measures.scores.measure import Scores

    section = section_of(options.what)
    paths = {**section.paths, **dict(options.path)}
    section = section.model_copy(update={"tasks": tasks or section.tasks, "paths": paths, **changes})
    scores = Scores(section, options.exact, options.device, keep=selection.output is None)
    if options.follow:
        scores.prepare([], say)
        coming = follow_run(Path(options.what), selection.revisions, selection.output)
        models = [one.model for one in measured_each(scores, coming, say)]
    else:
        models = [one.model for one in measured(scores, selection.models(), say)]
    if options.publish:
        from lmeff.publishing.results import publish_results

        publish_results(options.what, models)


def _named_folder(text: str) -> tuple[str, str]:
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=DIR, such as blimp=data/blimp")
    return name, path(folder)


def _batch_size(text: str) -> int | str:
    return text if text == "auto" else positive_int(text)
