"""`lmeff perplexity`: loss, perplexity and bits per byte of text."""

import argparse

from lmeff.cli.argument_types import path, positive_int
from lmeff.cli.model_options import add_what, by_name, print_results, read_selection, say

SUMMARY = "loss, perplexity and bits per byte of text, by domain and over all"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    add_what(parser)
    text = "text files, JSON lines with `text`, tables, folders or globs (default: the run's own held-out text)"
    parser.add_argument("--text", type=path, nargs="+", action="extend", default=[], metavar="PATH", help=text)
    parser.add_argument("--split", choices=["dev", "train"], help="of the run's own corpus (dev)")
    text = "strided: documents one by one in overlapping windows; packed: one after the other, as in training"
    parser.add_argument("--way", choices=["strided", "packed"], default="strided", help=f"{text} (strided)")
    parser.add_argument("--length", type=positive_int, metavar="N", help="tokens of a window (the recipe's)")
    text = "strided: how far the windows lie apart; a token has length - N before it (half the length)"
    parser.add_argument("--stride", type=positive_int, metavar="N", help=text)
    text = "so many tokens at most: documents from all over the text, of long ones stretches (dev: all; train: 1M)"
    parser.add_argument("--limit-tokens", type=positive_int, metavar="N", help=text)
    parser.add_argument(
        "--name", metavar="NAME", help="of the results of --text: perplexity_NAME (stem of the first path)"
    )
    parser.add_argument(
        "--no-eos", action="store_true", help="leave out what the end of a document costs, as lm-eval does"
    )
    text = "windows at once (so many that their logits take at most 512 MiB, on a GPU 4 GiB)"
    parser.add_argument("--batch-size", type=positive_int, metavar="N", help=text)
    parser.add_argument("--json", action="store_true", help="print the results as JSON")


def run(options: argparse.Namespace) -> None:
    from lmeff.cli.input_checks import check_models, check_text
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

    print_results(options, measured(Perplexity(settings), selection.models(), say), by_name)
