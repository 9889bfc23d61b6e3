"""`lmeff VERB`. Every verb parses, calls one function and prints. Nothing heavy is imported before a verb needs it."""

import argparse
import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import lmeff
from lmeff.cli.argument_types import not_negative, path, positive, positive_int, positive_ints
from lmeff.cli.evaluation_verbs import add_evaluation_verbs
from lmeff.cli.help import Parser, check_verb, grouped_verbs, options_anywhere, settle_environment
from lmeff.cli.measure_verbs import add_measure_verbs
from lmeff.cli.training_verbs import add_recipe, add_training_verbs
from lmeff.errors import EXIT_FAILED, EXIT_INPUT, EXIT_INTERRUPTED, InputError, RunFailed


def _plan(options: argparse.Namespace) -> None:
    from lmeff.cli.early import check_recipe_tasks, check_text_of
    from lmeff.plan import make_plan
    from lmeff.plan.gpus import find_gpu
    from lmeff.plan.text import format_plan
    from lmeff.recipe import read_recipe
    from lmeff.recipe.machine import check_machine

    resolved = read_recipe(options.recipe, options.overrides)
    recipe, speed, speed_from = resolved.recipe, options.tokens_per_second, ""
    # Before anything is measured, so that a mistake is told at once.
    plan = make_plan(recipe, world_size=options.devices, tokens_per_second=speed, mfu=options.mfu, gpu=options.gpu)
    check_machine(resolved, find_gpu(options.gpu).capability if options.gpu else None)
    check_text_of(resolved)
    check_recipe_tasks(resolved)
    if options.measure:
        if speed or options.mfu or options.gpu:
            raise InputError("--measure: measures this machine; leave out --tokens-per-second, --mfu and --gpu")
        from lmeff.probes.speed import measure_speed

        print("trying a few steps of the model, half a minute at the most ...", file=sys.stderr, flush=True)
        measured = measure_speed(recipe, options.devices)
        speed, speed_from = measured.tokens_per_second, measured.describe()
        plan = make_plan(recipe, world_size=options.devices, micro_batch=measured.micro_batch, tokens_per_second=speed)
    print(plan.model_dump_json(indent=2) if options.json else format_plan(plan, speed_from, options.gpu))


def _prepare(options: argparse.Namespace) -> None:
    from lmeff.recipe import read_recipe
    from lmeff.tokens import prepare_packing, prepare_run
    from lmeff.tokens.summary import describe_prepared

    recipe = read_recipe(options.recipe, options.overrides).recipe
    corpus, tokens = prepare_run(recipe, Path(options.recipe).parent)
    best_fit = recipe.batch.packing == "best_fit"
    packing = prepare_packing(tokens, recipe.batch.sequence_length) if best_fit else None
    for line in describe_prepared(corpus, tokens, packing):
        print(line)


def _tokenizer(options: argparse.Namespace) -> None:
    from lmeff.hub.remote import fetch_tokenizer
    from lmeff.recipe import read_recipe
    from lmeff.tokens.report.measures import report_tokenizers
    from lmeff.tokens.report.text import format_report

    recipe = read_recipe(options.recipe, options.overrides).recipe
    report = report_tokenizers(recipe, options.beside, options.vocab_sizes, fetch_tokenizer)
    print(json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) if options.json else format_report(report))


def _corpora(options: argparse.Namespace) -> None:
    from lmeff.corpora import named_corpora

    corpora = named_corpora()
    if options.name is None:
        for name, description in corpora.items():
            print(f"{name:15} {description['title']}")
        print("\n`lmeff corpora show NAME` says more; a recipe takes one with corpus.name=NAME")
    elif options.sample:
        from lmeff.corpora.sample import show_sample
        from lmeff.recipe.sections.corpus import Corpus

        settings = {"paths": options.paths} if options.paths else {}
        for line in show_sample(Corpus(name=options.name, **settings), options.documents):
            print(line)
    elif options.name in corpora:
        import yaml

        print(yaml.safe_dump(corpora[options.name], sort_keys=False, allow_unicode=True, width=120), end="")
    else:
        raise InputError(f"{options.name!r} is not one of {', '.join(corpora)}")


def _doctor(options: argparse.Namespace) -> int:
    from lmeff.cli.doctor import print_report

    return print_report()


def _curves(options: argparse.Namespace) -> None:
    from lmeff.cli.early import check_run_folders
    from lmeff.progress import shown

    check_run_folders(options.paths)
    from lmeff.analysis import all_notes, curves_csv, curves_json, print_curves, read_runs

    with shown("reading the runs"):
        runs = read_runs(options.paths)
    for note in all_notes(runs) if options.json or options.csv else ():
        print(note, file=sys.stderr)
    if options.json:
        print(json.dumps(curves_json(runs), indent=2, allow_nan=False))
    else:
        print(curves_csv(runs) if options.csv else print_curves(runs))


def _report(options: argparse.Namespace) -> None:
    from lmeff.analysis import check_output
    from lmeff.cli.early import check_run_folders
    from lmeff.progress import shown

    if options.figure and not options.output:
        raise InputError(f"--figure {options.figure}: into which file? Name a .png, .svg or .pdf with -o")
    if options.output:
        check_output(Path(options.output), options.figure)
    check_run_folders(options.paths)
    from lmeff.analysis import read_runs, write_figures, write_output

    written = []
    output = Path(options.output) if options.output else Path("report.html").absolute()
    with_output = options.output or not options.figures
    with shown("reading the runs"):
        runs = read_runs(options.paths)
    with shown("drawing"):
        written += write_output(runs, output, options.figure) if with_output else []
        written += write_figures(runs, Path(options.figures)) if options.figures else []
    print("\n".join(map(str, written)))


def _status(options: argparse.Namespace) -> None:
    from lmeff.cli.early import check_run_folders

    check_run_folders(options.paths)
    from lmeff.analysis import read_runs

    for run in read_runs(options.paths):
        state = run.state
        if run.source:
            print(f"{run.source}: {len(run.anchors)} revisions scored")
            continue
        print(
            f"{run.folder}: "
            + ("not begun" if state is None else f"{state.state}, step {state.step:,}, {state.tokens:,} tokens")
        )
        if state is not None and state.error:
            print(f"  {state.error}")


def _probe(options: argparse.Namespace) -> None:
    from lmeff.quantities import format_bytes
    from lmeff.recipe import read_recipe
    from lmeff.recipe.machine import check_machine

    resolved = read_recipe(options.recipe, options.overrides)
    check_machine(resolved)
    recipe = resolved.recipe
    if options.what != "memory":
        from lmeff.corpora import prepare_text

        prepare_text(recipe.corpus, recipe.paths.data)  # text that is not there is told before torch is imported
    match options.what:
        case "lr":
            from lmeff.probes.learning_rate import probe_learning_rate

            found, picture = probe_learning_rate(recipe, options.first, options.last, options.steps or 120)
            print(
                f"steepest at {found.steepest:.2g}, lowest at {found.lowest:.2g};"
                f" try optimizer.learning_rate={found.suggested:.1e}"
            )
            print(picture)
        case "overfit":
            from lmeff.probes.overfit import probe_overfit

            seen = probe_overfit(recipe, options.sequences, options.steps or 400)
            print(
                f"learns: {seen.num_sequences} sequences from {seen.first_loss:.3f} to {seen.last_loss:.3f} nats per token"
                f" in {seen.num_steps} steps"
            )
        case "memory":
            from lmeff.probes.memory import probe_memory

            memory = probe_memory(recipe, options.devices)
            print(f"{memory.device}, {format_bytes(memory.total_bytes)}")
            for size, peak in memory.peak_bytes.items():
                print(f"  batch.micro={size}: {'does not fit' if peak is None else format_bytes(peak)}")
            if memory.micro_batch is None:
                raise RunFailed("not even one sequence fits; use a smaller model or batch.sequence_length")
            print(f"largest that fits: batch.micro={memory.micro_batch}")


def _publish(options: argparse.Namespace) -> int:
    from lmeff.cli.early import check_run

    check_run(options.run)
    from lmeff.publishing.folder import undelivered_text
    from lmeff.publishing.publish import publish

    left = publish(Path(options.run), options.namespace, options.wait, options.mend)
    if left:
        print(undelivered_text(Path(options.run), left), file=sys.stderr)
    return EXIT_FAILED if left else 0


def _verify(options: argparse.Namespace) -> int:
    from lmeff.publishing.verify import main as verify

    return 0 if verify(Path(options.run), reload=not options.no_reload, hub=not options.local) else EXIT_FAILED


def _parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = Parser(prog="lmeff", description=lmeff.__doc__, usage="lmeff VERB ...", formatter_class=form)
    parser.add_argument("--version", action="version", version=f"lmeff {lmeff.__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True, help=argparse.SUPPRESS)
    summaries: dict[str, str] = {}

    def verb(name: str, action, summary: str) -> argparse.ArgumentParser:
        summaries[name] = summary
        sub = verbs.add_parser(name, description=summary, prog=f"lmeff {name}")
        sub.set_defaults(action=action)
        return sub

    add_training_verbs(verb)
    for name, action, summary in (
        ("plan", _plan, "what a recipe will do and cost, in steps, parameters, FLOPs, memory, disk and hours"),
        ("prepare", _prepare, "write a recipe's text, tokenizer and tokens, as a run would"),
        ("tokenizer", _tokenizer, "what a recipe's tokenizer and others beside it make of the held-out text"),
    ):
        sub = verb(name, action, summary)
        add_recipe(sub)
        if name == "tokenizer":
            text = "folders with a tokenizer.json, such files, or NAMESPACE/REPO[@REVISION] on the Hub"
            sub.add_argument("--beside", type=path, nargs="+", action="extend", default=[], metavar="WHAT", help=text)
            text = "our own tokenizers of these sizes, such as 8k,16k, in place of the recipe's"
            sub.add_argument("--vocab-sizes", type=positive_ints, default=[], metavar="N,...", help=text)
            sub.add_argument("--json", action="store_true")
        if name == "plan":
            sub.add_argument("--json", action="store_true", help="print plan.json")
            sub.add_argument(
                "--devices", type=positive_int, default=1, metavar="N", help="devices that share the batch (default 1)"
            )
            sub.add_argument("--tokens-per-second", type=positive, metavar="N", help="speed of all devices together")
            sub.add_argument(
                "--mfu", type=positive, metavar="SHARE", help="or the share of the GPU's 16-bit peak, such as 0.4"
            )
            sub.add_argument("--gpu", metavar="NAME", help="h100, a100, rtx4090 ...: plan for it, not for this machine")
            text = "try a few steps of the model on this machine, which needs torch, and estimate the hours from them"
            sub.add_argument("--measure", action="store_true", help=text)
    sub = verb("corpora", _corpora, "the corpora known by name")
    sub.add_argument("show", nargs="?", choices=["show"], help="show one of them")
    sub.add_argument("name", nargs="?", metavar="NAME")
    sub.add_argument("--sample", action="store_true", help="what cleaning changes in the first documents of each file")
    sub.add_argument(
        "--paths", type=path, nargs="+", metavar="PATH", help="its text, where the corpus does not come with any"
    )
    sub.add_argument("--documents", type=positive_int, default=1000, metavar="N", help="of each file (1000)")
    verb("doctor", _doctor, "what this machine has, what is missing, and how to get it")
    add_evaluation_verbs(verb)
    add_measure_verbs(verb)
    sub = verb("curves", _curves, "the learning curves of runs as a table")
    sub.add_argument("paths", type=path, nargs="+", metavar="PATH", help="folders of runs, or folders that hold some")
    sub.add_argument("--json", action="store_true")
    sub.add_argument("--csv", action="store_true", help="the tidy table")
    options_anywhere(sub)
    sub = verb("report", _report, "one HTML page with the learning curves of runs, or its figures as PNG, SVG or PDF")
    sub.add_argument("paths", type=path, nargs="+", metavar="PATH", help="folders of runs, or folders that hold some")
    text = "the page and its main picture (default: report.html here); .png or .svg a figure, .pdf all of them, a page each"
    sub.add_argument("-o", "--output", type=path, metavar="FILE", help=text)
    text = "of a .png, .svg or .pdf: main (default), phenomena, paradigms or weights"
    sub.add_argument("--figure", metavar="NAME", help=text)
    sub.add_argument("--figures", type=path, metavar="DIR", help="every figure as PNG, SVG and PDF into this folder")
    options_anywhere(sub)
    sub = verb("status", _status, "what runs are doing")
    sub.add_argument("paths", type=path, nargs="+", metavar="PATH", help="folders of runs, or folders that hold some")
    sub = verb(
        "probe", _probe, "short looks at a recipe: its learning rate, whether it learns at all, the largest micro-batch"
    )
    sub.add_argument("what", choices=["lr", "overfit", "memory"])
    add_recipe(sub)
    sub.add_argument("--steps", type=positive_int, metavar="N", help="steps at the most (lr: 120, overfit: 400)")
    sub.add_argument("--first", type=positive, default=1e-6, metavar="RATE", help="lr: the rate to begin with (1e-6)")
    sub.add_argument("--last", type=positive, default=1.0, metavar="RATE", help="lr: the rate to end with (1)")
    sub.add_argument("--sequences", type=positive_int, default=4, metavar="N", help="overfit: sequences to learn (4)")
    sub.add_argument(
        "--devices", type=positive_int, default=1, metavar="N", help="memory: devices that share the batch (1)"
    )
    sub = verb("publish", _publish, "deliver what is not on the Hub yet of a run, and cards that have changed since")
    sub.add_argument("run", type=path, metavar="RUN")
    sub.add_argument("--namespace", metavar="NAME", help="user or organization, in place of the recipe's")
    text = "seconds to go on trying where the Hub is in trouble (600; 30 where it cannot be reached at all)"
    sub.add_argument("--wait", type=not_negative, metavar="SECONDS", help=text)
    text = "first correct files that some versions of transformers read otherwise than lmeff does; weights stay as they are"
    sub.add_argument("--mend", action="store_true", help=text)
    sub = verb("verify", _verify, "compare the revisions of a run with their manifests, their losses and the Hub")
    sub.add_argument("run", type=path, metavar="RUN")
    sub.add_argument("--local", action="store_true", help="do not ask the Hub")
    sub.add_argument("--no-reload", action="store_true", help="do not load the models and take their losses again")
    parser.epilog = grouped_verbs(summaries)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0, 1 (it failed), 2 (the input is wrong; one line each on stderr), 75 (interrupted)."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        settle_environment(words)
        if words[:1] == ["lm-eval"]:  # its options are its own
            from lmeff.evaluation.command_line import lm_eval

            return lm_eval(words[1:])
        parser = _parser()
        check_verb(parser, words)
        options = parser.parse_args(words)
        return options.action(options) or 0
    except InputError as error:
        print(error, file=sys.stderr)
        return EXIT_INPUT
    except RunFailed as error:
        print(error, file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if isinstance(error, OSError) and error.filename:  # a path that was named cannot be read or written
            print(f"{os.fsdecode(error.filename)}: {error.strerror}", file=sys.stderr)
            return EXIT_INPUT
        traceback.print_exc()
        return EXIT_FAILED
