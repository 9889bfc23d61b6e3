"""`lmeff generate`: texts after prompts."""

import argparse
from pathlib import Path

from lmeff.cli.argument_types import path, positive, positive_int, share
from lmeff.cli.model_options import add_what, by_name, print_results, read_selection, say

SUMMARY = "what models write after prompts, and how diverse, repetitive and right that is"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    add_what(parser)
    text = "one a line, or JSON lines with prompt and optionally expected and group (default: 38 that come with lmeff)"
    parser.add_argument("--prompts", type=path, metavar="FILE", help=text)
    parser.add_argument("--name", metavar="NAME", help="of the results: generation_NAME (generation)")
    parser.add_argument("--max-new-tokens", type=positive_int, default=50, metavar="N", help="of each text (50)")
    parser.add_argument("--samples", type=positive_int, default=3, metavar="N", help="texts after each prompt (3)")
    parser.add_argument("--temperature", type=positive, default=0.8, metavar="T", help="of sampling (0.8)")
    parser.add_argument(
        "--top-p", type=share, default=0.95, metavar="P", help="mass of the tokens that are drawn from (0.95)"
    )
    parser.add_argument("--greedy", action="store_true", help="no sampling: the most probable token each time")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of sampling (0)")
    parser.add_argument("--batch-size", type=positive_int, default=32, metavar="N", help="texts written at once (32)")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")


def run(options: argparse.Namespace) -> None:
    from lmeff.cli.input_checks import check_models
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

    print_results(options, measured(Generation(settings), selection.models(), say), by_name)
