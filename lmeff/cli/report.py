"""`lmeff report`: learning curves as a page or as figures."""

import argparse
from pathlib import Path

from lmeff.cli.argument_types import path
from lmeff.cli.help import options_anywhere
from lmeff.errors import InputError
from lmeff.garbage import garbage_kept

SUMMARY = "one HTML page with the learning curves of runs, or its figures as PNG, SVG or PDF"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument(
        "paths",
        type=path,
        nargs="+",
        metavar="PATH",
        help="folders of runs, folders that hold some, or a CSV file with a row for each score",
    )
    text = "the page and its main picture (default: report.html here); .png or .svg a figure, .pdf all of them, a page each"
    parser.add_argument("-o", "--output", type=path, metavar="FILE", help=text)
    text = (
        "of a .png, .svg or .pdf: main (default), phenomena, grid, agreement, fan, sweep, ...; another word lists them"
    )
    parser.add_argument("--figure", metavar="NAME", help=text)
    parser.add_argument("--figures", type=path, metavar="DIR", help="every figure as PNG, SVG and PDF into this folder")
    parser.add_argument(
        "--columns",
        default="",
        metavar="FIELD=COLUMN,...",
        help="of a CSV file, such as tokens=milestone:M,corpus=dataset; the published table of BLiMP needs none",
    )
    options_anywhere(parser)


# Rows and figures are some hundred thousand objects that stay to the end; looking through them takes a tenth of the time.
@garbage_kept()
def run(options: argparse.Namespace) -> None:
    from lmeff.analysis import check_output
    from lmeff.cli.input_checks import check_run_folders
    from lmeff.progress import shown

    if options.figure and not options.output:
        raise InputError(f"--figure {options.figure}: into which file? Name a .png, .svg or .pdf with -o")
    if options.output:
        check_output(Path(options.output), options.figure)
    if folders := [each for each in options.paths if not Path(each).is_file()]:
        check_run_folders(folders)
    from lmeff.analysis import write_figures, write_output
    from lmeff.analysis.charts.study import Study
    from lmeff.analysis.scores.paths import read_scored

    written = []
    output = Path(options.output) if options.output else Path("report.html").absolute()
    with_output = options.output or not options.figures
    with shown("reading the runs"):
        study = Study(*read_scored(options.paths, options.columns))
    with shown("drawing"):
        written += write_output(study, output, options.figure) if with_output else []
        written += write_figures(study, Path(options.figures)) if options.figures else []
    print("\n".join(map(str, written)))
