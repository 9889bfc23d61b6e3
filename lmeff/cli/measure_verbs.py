"""The verbs of `lmeff` that measure something else of models than scores on tasks. Nothing heavy is imported before a verb
needs it."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmeff.cli.argument_types import overrides_anywhere, path, positive, positive_int, positive_ints, share
from lmeff.cli.help import options_anywhere
from lmeff.cli.model_options import add_what, read_selection, say
from lmeff.packages import check_package

if TYPE_CHECKING:
    from lmeff.measures.measure import Measured


def _weights(options: argparse.Namespace) -> None:
    from lmeff.cli.early import check_models

    selection = read_selection(options)
    check_models(replace(selection, output=None))
    from lmeff.measures.measure import measured
    from lmeff.measures.weights.measure import WeightStatistics, weights_table

    weights = WeightStatistics(selection.every)
    _print_results(options, measured(weights, selection.models(), say), _as_rows, weights_table)


def _profile(options: argparse.Namespace) -> None:
    from lmeff.cli.early import check_device, check_models

    check_device(options.device)
    selection = read_selection(options)
    check_models(replace(selection, output=None))
    from lmeff.measures.measure import measured
    from lmeff.measures.profile.measure import Profile, models_to_profile
    from lmeff.measures.profile.profile import ProfileSettings
    from lmeff.measures.profile.table import profile_table

    settings = ProfileSettings(
        lengths=tuple(options.lengths),
        batch_sizes=tuple(options.batch_sizes),
        precision=options.precision,
        device=options.device,
        repeats=options.repeats,
        seconds=options.seconds,
    )
    names = models_to_profile(selection)
    profile = Profile(settings, names.__getitem__, partial(say, file=sys.stderr))
    _print_results(options, measured(profile, list(names), say), _as_rows, profile_table)


def _print_results(
    options: argparse.Namespace,
    coming: "Iterator[Measured]",
    as_json: "Callable[[list[Measured]], Any]",
    table: Callable[[list[dict]], str] | None = None,
) -> None:
    """Measures, and prints the results that there are then, also when some models fail: as `table` makes them or, with
    `--json`, as JSON, and all that is said on the way to standard error."""
    done: list[Measured] = []
    try:
        with redirect_stdout(sys.stderr if options.json else sys.stdout):
            for one in coming:
                done += [one]
    finally:
        if done and options.json:
            print(json.dumps(as_json(done), indent=2, ensure_ascii=False, allow_nan=False))
        elif done and table is not None:
            print(table([one.result for one in done]))


def _by_name(done: "list[Measured]") -> dict[str, dict]:
    return {one.model.name: one.result for one in done}


def _as_rows(done: "list[Measured]") -> list[dict]:
    return [one.result for one in done]


def _perplexity(options: argparse.Namespace) -> None:
    from lmeff.cli.early import check_models, check_text
    from lmeff.measures.perplexity.options import PerplexityOptions

    settings = PerplexityOptions(
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
    selection = read_selection(options)
    settings.check(options.what, selection.output)
    check_text(options.text)
    check_models(selection)
    from lmeff.measures.measure import measured
    from lmeff.measures.perplexity.measure import Perplexity

    _print_results(options, measured(Perplexity(settings), selection.models(), say), _by_name)


def _generate(options: argparse.Namespace) -> None:
    from lmeff.cli.early import check_models
    from lmeff.measures.generation.options import GenerationOptions
    from lmeff.measures.generation.prompts import DEFAULT_PROMPTS, read_prompts

    read_prompts(Path(options.prompts or DEFAULT_PROMPTS))
    selection = read_selection(options)
    check_models(selection)
    settings = GenerationOptions(
        prompts=options.prompts,
        max_new_tokens=options.max_new_tokens,
        samples=0 if options.greedy else options.samples,
        temperature=options.temperature,
        top_p=options.top_p,
        seed=options.seed,
        batch_size=options.batch_size,
        name=options.name,
    )
    settings.check()
    from lmeff.measures.generation.measure import Generation
    from lmeff.measures.measure import measured

    _print_results(options, measured(Generation(settings), selection.models(), say), _by_name)


def _finetune(options: argparse.Namespace) -> None:
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


def add_measure_verbs(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds them; `verb(name, action, summary)` makes the parser of one."""
    _add_text_verbs(verb)
    _add_finetune(verb)
    _add_model_verbs(verb)


def _add_text_verbs(verb: Callable[..., argparse.ArgumentParser]) -> None:
    sub = verb("perplexity", _perplexity, "loss, perplexity and bits per byte of text, by domain and over all")
    add_what(sub)
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
    add_what(sub)
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
