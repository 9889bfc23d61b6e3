"""The verbs of `lmeff` that score models. Nothing heavy is imported before a verb needs it."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from lmeff.argument_types import positive, positive_int, positive_ints


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


def _weights(options: argparse.Namespace) -> None:
    from lmeff.evaluation.weights_results import weigh, weights_table

    every = options.revisions == "all"
    revisions = options.revisions.split(",") if options.revisions and not every else None
    rows = weigh(options.what, revisions, every, Path(options.output) if options.output else None)
    print(json.dumps(rows, indent=2, allow_nan=False) if options.json else weights_table(rows))


def _profile(options: argparse.Namespace) -> None:
    from lmeff.evaluation.profiling import ProfileSettings
    from lmeff.evaluation.profiling_models import profile_all, profile_table

    settings = ProfileSettings(
        lengths=tuple(options.lengths),
        batch_sizes=tuple(options.batch_sizes),
        precision=options.precision,
        device=options.device,
        repeats=options.repeats,
        seconds=options.seconds,
    )
    every = options.revisions == "all"
    revisions = options.revisions.split(",") if options.revisions and not every else None
    output = Path(options.output) if options.output else None
    profiles = profile_all(options.what, settings, revisions, every, output)
    print(json.dumps(profiles, indent=2, allow_nan=False) if options.json else profile_table(profiles))


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
    sub = verb("weights", _weights, "norms and effective ranks of the weights of models, and how they move along a run")
    sub.add_argument("what", nargs="+", metavar="WHAT", help="run folders, model folders, or NAMESPACE/REPO[@REVISION]")
    sub.add_argument("--revisions", metavar="all|NAME,...", help="which revisions (default for a run: all)")
    sub.add_argument("--output", metavar="DIR", help="where results go (default: RUN/results or outputs/eval/NAME)")
    sub.add_argument("--json", action="store_true")
    sub = verb(
        "profile", _profile, "what models cost: latency, throughput, generation speed, peak memory, parameters, FLOPs"
    )
    sub.add_argument("what", nargs="+", metavar="WHAT", help="run folders, model folders, or NAMESPACE/REPO[@REVISION]")
    sub.add_argument("--lengths", type=positive_ints, default=[128, 512], metavar="N,...", help="of latency (128,512)")
    text = "of throughput and memory (1,2,4,8,16,32)"
    sub.add_argument("--batch-sizes", type=positive_ints, default=[1, 2, 4, 8, 16, 32], metavar="N,...", help=text)
    sub.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    sub.add_argument("--device", choices=["cpu", "cuda"], help="default: the GPU where there is one")
    sub.add_argument("--repeats", type=positive_int, default=100, metavar="N", help="timed passes of a row (100)")
    text = "a row ends after so long, even with fewer passes (10)"
    sub.add_argument("--seconds", type=positive, default=10.0, metavar="S", help=text)
    sub.add_argument(
        "--revisions", metavar="all|NAME,...", help="of a run (default: the newest; all of them cost the same)"
    )
    sub.add_argument("--output", metavar="DIR", help="where profiles go (default: RUN/results or outputs/eval/NAME)")
    sub.add_argument("--json", action="store_true")
