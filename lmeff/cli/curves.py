"""`lmeff curves`: learning curves as a table."""

import argparse
import sys
from pathlib import Path

from lmeff.cli.argument_types import path, share
from lmeff.cli.help import options_anywhere
from lmeff.garbage import garbage_kept

SUMMARY = "the learning curves of runs, other models and plain tables as one table"
FORMS = ("json", "csv", "markdown", "latex")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument(
        "paths",
        type=path,
        nargs="+",
        metavar="PATH",
        help="folders of runs, or folders that hold some, sweep files, or CSV files with a row for each value",
    )
    parser.add_argument(
        "--columns",
        default="",
        metavar="FIELD=COLUMN,...",
        help="of CSV files, such as tokens=milestone:M,corpus=dataset; the published table of BLiMP needs none",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="everything")
    form.add_argument("--csv", action="store_true", help="the tidy table")
    form.add_argument("--markdown", action="store_true", help="means over seeds, a table for each task")
    form.add_argument("--latex", action="store_true", help="the same for a paper, in the style of booktabs")
    form.add_argument(
        "-o",
        "--output",
        type=path,
        metavar="FILE",
        help="write the tidy table (.csv, .parquet), everything (.json) or the tables for people (.md, .tex)",
    )
    parser.add_argument(
        "--axis",
        choices=("tokens", "flops"),
        default="tokens",
        help="what the curves of --markdown, --latex, --threshold, --within are over (default: tokens)",
    )
    parser.add_argument(
        "--level",
        choices=("task", "phenomenon", "paradigm"),
        default="task",
        help="of what --markdown, --latex, --threshold and --within show (default: task, what is part of no other)",
    )
    parser.add_argument("--tasks", metavar="T,...", help="these tasks in place of a level")
    parser.add_argument(
        "--threshold",
        type=share,
        metavar="X",
        help="say when each task reaches this score for good, such as 0.75 (--json always does, at 0.75)",
    )
    parser.add_argument(
        "--within",
        type=share,
        metavar="X",
        help="say from which anchor on each curve is so close to its end, such as 0.01 (--json always does, at 0.01)",
    )
    parser.add_argument(
        "--scale",
        choices=("log", "linear"),
        default="log",
        help="along which curves are straight between two anchors, for --threshold (default: log)",
    )
    options_anywhere(parser)


# Rows and figures are some hundred thousand objects that stay to the end; looking through them takes a tenth of the time.
@garbage_kept()
def run(options: argparse.Namespace) -> None:
    from lmeff.analysis.file_formats import table_form
    from lmeff.cli.input_checks import check_run_folders
    from lmeff.cli.run_paths import with_runs_of_sweeps
    from lmeff.progress import shown

    form = next((name for name in FORMS if getattr(options, name)), None)
    if options.output:
        form = table_form(Path(options.output))
    paths, notes = with_runs_of_sweeps(options.paths)
    if folders := [each for each in paths if not Path(each).is_file()]:
        check_run_folders(folders)
    with shown("reading the curves"):
        from lmeff.analysis.one_table.curves import Curves, Wanted

        curves = Curves.read(paths, options.columns, notes)
    tasks = [task for task in options.tasks.split(",") if task] if options.tasks else None
    wanted = Wanted(options.level, tasks, options.axis, options.scale, options.threshold, options.within)
    if form == "parquet":
        curves.table.to_parquet(options.output, index=False)
    else:
        text = curves.text(form, wanted)
        if options.output:
            Path(options.output).write_text(text, encoding="utf-8")
        else:
            sys.stdout.write(text)
    for note in curves.notes if form else ():
        print(note, file=sys.stderr)
