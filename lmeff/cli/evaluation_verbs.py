"""The verbs of `lmeff` that score models. Nothing heavy is imported before a verb needs it."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from lmeff.cli.argument_types import overrides_anywhere, path, positive, positive_int, positive_ints, share
from lmeff.cli.help import options_anywhere


def _tasks(options: argparse.Namespace) -> None:
    from lmeff.evaluation.tasks.names import own_task_names, tasks_folder

    print("\n".join(own_task_names()) if options.list else tasks_folder())


def _which(options: argparse.Namespace) -> tuple[list[str] | None, bool, Path | None]:
    """Revisions by name, None for the usual ones; whether all are wanted; the folder for results, None for the usual one."""
    every = options.revisions == "all"
    revisions = options.revisions.split(",") if options.revisions and not every else None
    return revisions, every, Path(options.output) if options.output else None


def _eval(options: argparse.Namespace) -> None:
    from lmeff.cli.early import check_device, check_eval_options, check_eval_tasks, check_models, check_publishable

    check_device(options.device)
    tasks = options.tasks.split(",") if options.tasks else None
    revisions, every, output = _which(options)
    names = ("limit", "precision", "context_start", "batch_size", "include_path")
    changes = {name: value for name in names if (value := getattr(options, name))}
    changes["paths"] = dict(options.path)
    check_eval_options(options.what, changes, output, options.exact, options.follow)
    if not options.follow:
        check_models([options.what], revisions, every, output)
    if options.publish:
        check_publishable(options.what, options.limit, output)
    check_eval_tasks(options.what, tasks, options.include_path, dict(options.path))
    from lmeff.measures.scores.folders import evaluate_folders

    subjects = evaluate_folders(
        options.what, tasks, revisions, changes, output, every, options.exact, options.follow, options.device
    )
    if options.publish:
        from lmeff.publishing.results import publish_results

        publish_results(options.what, subjects)


def _named_folder(text: str) -> tuple[str, str]:
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=DIR, such as blimp=data/blimp")
    return name, path(folder)


def _lm_eval(_: argparse.Namespace) -> int:
    from lmeff.evaluation.command_line import lm_eval

    return lm_eval([])  # with options the command line hands them on unread


def _batch_size(text: str) -> int | str:
    return text if text == "auto" else positive_int(text)


def _weights(options: argparse.Namespace) -> None:
    from lmeff.cli.early import check_models

    check_models(options.what, *_which(options)[:2])
    from lmeff.measures.weights.measure import weigh, weights_table

    rows: list[dict] = []
    with _printed(options, rows, weights_table):
        weigh(options.what, *_which(options), rows)


def _profile(options: argparse.Namespace) -> None:
    from lmeff.cli.early import check_device, check_models

    check_device(options.device)
    check_models(options.what, *_which(options)[:2])
    from lmeff.measures.profile.measure import profile_all, profile_table
    from lmeff.measures.profile.profile import ProfileSettings

    settings = ProfileSettings(
        lengths=tuple(options.lengths),
        batch_sizes=tuple(options.batch_sizes),
        precision=options.precision,
        device=options.device,
        repeats=options.repeats,
        seconds=options.seconds,
    )
    profiles: list[dict] = []
    with _printed(options, profiles, profile_table):
        profile_all(options.what, settings, *_which(options), profiles)


@contextmanager
def _printed(options: argparse.Namespace, found: Any, table: Callable[[Any], str] | None = None) -> Iterator[None]:
    """Prints what is found meanwhile, also when some models fail: as `table` makes it or, with `--json`, as JSON, and all that
    is said on the way to standard error."""
    try:
        with redirect_stdout(sys.stderr if options.json else sys.stdout):
            yield
    finally:
        if found and options.json:
            print(json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False))
        elif found and table is not None:
            print(table(found))


def _perplexity(options: argparse.Namespace) -> None:
    from lmeff.cli.early import check_models, check_text
    from lmeff.measures.options import PerplexityOptions

    wanted = PerplexityOptions(
        paths=tuple(options.text),
        split=options.split,
        way=options.way,
        stride=options.stride,
        length=options.length,
        limit_tokens=options.limit_tokens,
        name=options.name,
        score_end=not options.no_eos,
        batch_size=options.batch_size,
    )
    wanted.check(options.what, _which(options)[2])
    check_text(options.text)
    check_models([options.what], *_which(options))
    from lmeff.measures.perplexity.measure import measure_perplexity

    results: dict[str, dict] = {}
    with _printed(options, results):
        measure_perplexity(options.what, wanted, *_which(options), results)


def _generate(options: argparse.Namespace) -> None:
    from lmeff.cli.early import check_models
    from lmeff.measures.generation.prompts import DEFAULT_PROMPTS, read_prompts

    read_prompts(Path(options.prompts or DEFAULT_PROMPTS))
    check_models([options.what], *_which(options))
    from lmeff.measures.generation.measure import Wanted, measure_generation

    wanted = Wanted(
        prompts=options.prompts,
        max_new_tokens=options.max_new_tokens,
        samples=0 if options.greedy else options.samples,
        temperature=options.temperature,
        top_p=options.top_p,
        seed=options.seed,
        batch_size=options.batch_size,
        name=options.name,
    )
    results: dict[str, dict] = {}
    with _printed(options, results):
        measure_generation(options.what, wanted, *_which(options), results)


def _finetune(options: argparse.Namespace) -> None:
    from lmeff.measures.finetuning.folders import Request, finetune_folders

    revisions, every, output = _which(options)
    finetune_folders(
        Request(
            what=options.what,
            tasks=options.tasks.split(","),
            revisions=revisions,
            every=every,
            recipe=Path(options.recipe) if options.recipe else None,
            overrides=options.overrides,
            data=options.data,
            output=output,
            limit=options.limit,
        )
    )


def add_evaluation_verbs(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds them; `verb(name, action, summary)` makes the parser of one."""
    sub = verb("tasks", _tasks, "the folder of lm-eval tasks, for --include_path")
    sub.add_argument("--list", action="store_true", help="print the names of the tasks instead")
    sub = verb(
        "eval", _eval, "score the revisions of a run or of a Hub repository, or a model folder, on lm-eval tasks"
    )
    _add_what(sub)
    sub.add_argument("--tasks", metavar="T,...", help="lm-eval tasks or groups (default: the recipe's)")
    text = "local data by name, such as blimp=DIR; may be repeated (default: the recipe's, LMEFF_EVAL_DATA, the Hub)"
    sub.add_argument("--path", type=_named_folder, action="append", default=[], metavar="NAME=DIR", help=text)
    sub.add_argument(
        "--include-path", type=path, metavar="DIR", help="folder with lm-eval task files of your own (the recipe's)"
    )
    sub.add_argument("--publish", action="store_true", help="add the results to the card and branch they belong to")
    sub.add_argument("--limit", type=positive_int, metavar="N", help="only the first N examples of each task")
    text = (
        "adaptive: minimal pairs in bfloat16, and in float32 too where that could change them (the recipe's, float32)"
    )
    sub.add_argument("--precision", choices=["float32", "adaptive"], help=text)
    text = "what a context begins with: one <s>, or what the tokenizer puts there by itself (the recipe's, bos)"
    sub.add_argument("--context-start", choices=["bos", "tokenizer"], help=text)
    sub.add_argument("--exact", action="store_true", help="lm-eval's own scoring in place of the fast one")
    sub.add_argument("--batch-size", type=_batch_size, metavar="N|auto", help="texts scored at once (the recipe's)")
    sub.add_argument("--device", choices=["cpu", "cuda"], help="default: the GPU where there is one")
    text = "score revisions as a run saves them, until it ends: evaluation that training does not wait for"
    sub.add_argument("--follow", action="store_true", help=text)
    verb("lm-eval", _lm_eval, "lm-eval's own command line with our model and our tasks; its options are lm-eval's")
    _add_text_verbs(verb)
    _add_finetune(verb)
    _add_model_verbs(verb)


def _add_text_verbs(verb: Callable[..., argparse.ArgumentParser]) -> None:
    sub = verb("perplexity", _perplexity, "loss, perplexity and bits per byte of text, by domain and over all")
    _add_what(sub)
    text = "text files, JSON lines with `text`, tables, folders or globs (default: the run's own held-out text)"
    sub.add_argument("--text", type=path, nargs="+", action="extend", default=[], metavar="PATH", help=text)
    sub.add_argument("--split", choices=["dev", "train"], help="of the run's own corpus (dev)")
    text = "strided: documents one by one in overlapping windows; packed: one after the other, as in training"
    sub.add_argument("--way", choices=["strided", "packed"], default="strided", help=f"{text} (strided)")
    sub.add_argument("--length", type=positive_int, metavar="N", help="tokens of a window (the recipe's)")
    text = "strided: how far the windows lie apart; a token has length - N before it (half the length)"
    sub.add_argument("--stride", type=positive_int, metavar="N", help=text)
    text = "so many tokens at most: documents from all over the text, of long ones stretches (dev: all; train: 1M)"
    sub.add_argument("--limit-tokens", type=positive_int, metavar="N", help=text)
    sub.add_argument(
        "--name", metavar="NAME", help="of the results of --text: perplexity_NAME (stem of the first path)"
    )
    sub.add_argument(
        "--no-eos", action="store_true", help="leave out what the end of a document costs, as lm-eval does"
    )
    text = "windows at once (so many that their logits take at most 512 MiB, on a GPU 4 GiB)"
    sub.add_argument("--batch-size", type=positive_int, metavar="N", help=text)
    sub.add_argument("--json", action="store_true", help="print the results as JSON")
    sub = verb("generate", _generate, "what models write after prompts, and how diverse, repetitive and right that is")
    _add_what(sub)
    text = "one a line, or JSON lines with prompt and optionally expected and group (default: 38 that come with lmeff)"
    sub.add_argument("--prompts", type=path, metavar="FILE", help=text)
    sub.add_argument("--name", metavar="NAME", help="of the results: generation_NAME (generation)")
    sub.add_argument("--max-new-tokens", type=positive_int, default=50, metavar="N", help="of each text (50)")
    sub.add_argument("--samples", type=positive_int, default=3, metavar="N", help="texts after each prompt (3)")
    sub.add_argument("--temperature", type=positive, default=0.8, metavar="T", help="of sampling (0.8)")
    sub.add_argument(
        "--top-p", type=share, default=0.95, metavar="P", help="mass of the tokens that are drawn from (0.95)"
    )
    sub.add_argument("--greedy", action="store_true", help="no sampling: the most probable token each time")
    sub.add_argument("--seed", type=int, default=0, metavar="N", help="of sampling (0)")
    sub.add_argument("--batch-size", type=positive_int, default=32, metavar="N", help="texts written at once (32)")
    sub.add_argument("--json", action="store_true", help="print the results as JSON")


def _add_model_verbs(verb: Callable[..., argparse.ArgumentParser]) -> None:
    sub = verb("weights", _weights, "norms and effective ranks of the weights of models, and how they move along a run")
    sub.add_argument(
        "what", type=path, nargs="+", metavar="WHAT", help="run folders, model folders, or NAMESPACE/REPO[@REVISION]"
    )
    sub.add_argument("--revisions", metavar="all|NAME,...", help="which revisions (default for a run: all)")
    sub.add_argument(
        "--output", type=path, metavar="DIR", help="where results go (default: RUN/results or outputs/eval/NAME)"
    )
    sub.add_argument("--json", action="store_true")
    options_anywhere(sub)
    sub = verb(
        "profile", _profile, "what models cost: latency, throughput, generation speed, peak memory, parameters, FLOPs"
    )
    sub.add_argument(
        "what", type=path, nargs="+", metavar="WHAT", help="run folders, model folders, or NAMESPACE/REPO[@REVISION]"
    )
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
    sub.add_argument(
        "--output", type=path, metavar="DIR", help="where profiles go (default: RUN/results or outputs/eval/NAME)"
    )
    sub.add_argument("--json", action="store_true")
    options_anywhere(sub)


def _add_finetune(verb: Callable[..., argparse.ArgumentParser]) -> None:
    sub = verb("finetune", _finetune, "fine-tune the same models on classification tasks, and score them")
    sub.add_argument("what", type=path, metavar="WHAT", help="as for eval")
    text = "glue, superglue, babylm or leaner_glue, single tasks such as boolq, or tasks of your recipe"
    sub.add_argument("--tasks", required=True, metavar="T,...", help=text)
    text = "settings and tasks of your own (default: one learning rate, one seed, 10,000 examples)"
    sub.add_argument("--recipe", type=path, metavar="FILE.yaml", help=text)
    sub.add_argument(
        "overrides", nargs="*", default=[], metavar="key=value", help="such as epochs=3 or tasks.rte.seeds=[0,1]"
    )
    text = "folder with TASK_train.jsonl and TASK_validation.jsonl (default: LMEFF_EVAL_DATA, else the Hub)"
    sub.add_argument("--data", type=path, metavar="DIR", help=text)
    sub.add_argument("--revisions", metavar="all|NAME,...", help="as for eval")
    sub.add_argument("--limit", type=positive_int, metavar="N", help="at most N examples of every split")
    sub.add_argument("--output", type=path, metavar="DIR", help="as for eval")
    overrides_anywhere(sub)


def _add_what(sub: argparse.ArgumentParser) -> None:
    """Which models, and where their results go."""
    sub.add_argument(
        "what", type=path, metavar="WHAT", help="a run folder, a model folder, or NAMESPACE/REPO[@REVISION] on the Hub"
    )
    sub.add_argument(
        "--revisions", metavar="all|NAME,...", help="which revisions (default for a run: all; for the Hub: say which)"
    )
    sub.add_argument(
        "--output", type=path, metavar="DIR", help="where results go (default: RUN/results or outputs/eval/NAME)"
    )
