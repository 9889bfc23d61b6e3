"""`lmeff predict`: how early learning curves tell how training ends."""

import argparse
import json

from lmeff.cli.argument_types import path
from lmeff.cli.help import options_anywhere

SUMMARY = "how early is early enough: what unfinished runs will end at, and how sure that is"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument(
        "paths",
        type=path,
        nargs="+",
        metavar="PATH",
        help="folders of runs, sweep files, or CSV files with a row for each score",
    )
    parser.add_argument(
        "--target",
        default="last",
        metavar="TOKENS|last|final",
        help="what is predicted (default: the last anchor that at least a quarter of the recipes have)",
    )
    parser.add_argument(
        "--columns",
        default="",
        metavar="FIELD=COLUMN,...",
        help="of a CSV file, such as tokens=milestone:M,corpus=dataset; the published table of BLiMP needs none",
    )
    parser.add_argument("--task", help="which task, where there are several")
    parser.add_argument("--json", action="store_true")
    options_anywhere(parser)


def run(options: argparse.Namespace) -> None:
    from lmeff.cli.run_paths import with_runs_of_sweeps
    from lmeff.progress import shown

    with shown("reading the scores"):
        from lmeff.analysis.scores.chosen_task import choose_task
        from lmeff.analysis.scores.paths import read_observations

        paths, left_out = with_runs_of_sweeps(options.paths)
        observations, notes = read_observations(paths, options.columns)
        observations, said = choose_task(observations, options.task)
    with shown("predicting"):
        from lmeff.analysis.prediction.document import predict
        from lmeff.analysis.prediction.text import predict_text
        from lmeff.errors import InputError

        try:
            document = predict(observations, options.target, [*left_out, *notes, *said])
        except InputError as error:
            # What was left out may be why too little is there.
            reasons = [note for note in (*notes, *said) if "left out" in note]
            raise InputError("; ".join([str(error), *reasons])) from None
    print(json.dumps(document, indent=2, allow_nan=False) if options.json else predict_text(document), end="")
    if options.json:
        print()
