"""`lmeff sweep`: many recipes from one, by the axes of a file or lists on the command line."""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lmeff.cli.argument_types import overrides_anywhere, path, positive_int
from lmeff.errors import EXIT_FAILED, EXIT_INTERRUPTED, InputError

if TYPE_CHECKING:
    from lmeff.recipe import Resolved
    from lmeff.sweeps.cases import Case, Sweep

SUMMARY = "many recipes from one: its cases, running them here or with Slurm, and which is the best"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("what", choices=["list", "show", "run", "submit", "rank", "import"])
    parser.add_argument("sweep", type=path, metavar="SWEEP", help="a sweep, or a recipe with lists: seed=[0,1,2]")
    parser.add_argument("index", nargs="?", type=int, metavar="N", help="show: the number of the case, from 0")
    text = "keys for all cases; a list is an axis, such as model.size=[20m,60m]"
    parser.add_argument("overrides", nargs="*", default=[], metavar="section.key=value", help=text)
    overrides_anywhere(parser)
    parser.add_argument("--json", action="store_true", help="list, rank: as JSON")
    text = "list: the number of the last case alone, for sbatch --array=0-$(lmeff sweep list SWEEP --last)"
    parser.add_argument("--last", action="store_true", help=text)
    parser.add_argument("--folders", action="store_true", help="list: the folders of the runs alone")
    parser.add_argument("--jobs", type=positive_int, default=1, metavar="N", help="run: cases at a time (1)")
    text = "run: then measure what the final models cost, one after the other, on a machine that does nothing else"
    parser.add_argument("--profile", action="store_true", help=text)
    text = "run: as for lmeff train, for every case"
    parser.add_argument("--launcher", type=path, metavar="NAME|FILE", help=text)
    parser.add_argument("--num-processes", type=positive_int, metavar="N", help=text)
    text = "rank: by what; one of held-out text (dev_bits_per_byte), or a task's, such as lmeff_blimp or TASK:METRIC"
    parser.add_argument("--metric", metavar="METRIC", help=text)
    text = "rank: so many rows of each table, and with --write so many finalists at the most (3)"
    parser.add_argument("--top", type=positive_int, metavar="K", help=text)
    text = "rank: write the sweep of the cases that may be the best, for longer runs"
    parser.add_argument("--write", type=path, metavar="FILE", help=text)
    text = "import: the sweep to write; SWEEP is the table of experiments (configs.csv) of lm-efficiency-analysis"
    parser.add_argument("-o", "--output", type=path, metavar="FILE", help=text)
    text = "submit: print what would be submitted, and submit nothing"
    parser.add_argument("--dry-run", action="store_true", help=text)
    text = "submit: the folder of the Slurm templates (slurm)"
    parser.add_argument("--slurm", type=path, default="slurm", metavar="DIR", help=text)


def run(options: argparse.Namespace) -> int | None:
    from lmeff.sweeps.cases import read_sweep

    if options.what == "import":
        _import(options)
        return None
    sweep = read_sweep(options.sweep, options.overrides)
    if options.what != "show" and options.index is not None:
        raise InputError(
            f"lmeff sweep {options.what}: takes no number; lmeff sweep show {options.sweep} {options.index}"
        )
    match options.what:
        case "show":
            _show(sweep, options)
        case "list":
            _list(sweep, options)
        case "run":
            return _run(sweep, options)
        case "submit":
            _submit(sweep, options)
        case "rank":
            _rank(sweep, options)
    return None


def _show(sweep: "Sweep", options: argparse.Namespace) -> None:
    if options.index is None:
        raise InputError(f"lmeff sweep show: which case? {options.sweep} has {sweep.describe_numbers()}")
    case = sweep.case(options.index)
    print(f"# case {case.index} of {sweep.name}: {case.run}\n{case.resolved.to_yaml()}", end="")


def _list(sweep: "Sweep", options: argparse.Namespace) -> None:
    if options.last:
        print(sweep.cases[-1].index)
        return
    if options.folders:
        print("\n".join(str(case.run) for case in sweep.cases))
        return
    from lmeff.sweeps.states import listing

    found = listing(sweep)
    if options.json:
        import json

        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    from lmeff.text_tables import table_lines

    rows = [["", "case", "seed", "state", "folder"]]
    rows += [[str(one["index"]), one["name"], str(one["seed"]), one["state"], one["folder"]] for one in found["cases"]]
    print("\n".join(table_lines(rows, "><><")))
    reasons = dict.fromkeys(f"{one['name']}: {one['reason']}" for one in found["cases"] if "reason" in one)
    print("".join(f"{line}\n" for line in (*reasons, *found.get("notes", ()))), end="")


def _import(options: argparse.Namespace) -> None:
    from lmeff.sweeps.cases import read_sweep
    from lmeff.sweeps.experiment_table import read_experiment_table, write_sweep

    if not options.output or options.overrides:
        raise InputError(
            f"lmeff sweep import: -o FILE: the sweep to write; lmeff sweep import {options.sweep} -o configs.yaml"
            if not options.output
            else f"lmeff sweep import: takes no keys; give {options.overrides[0]} to lmeff sweep run {options.output}"
        )
    source, target = Path(options.sweep), Path(options.output)
    table = read_experiment_table(source)
    write_sweep(table, source, target)
    for line in table.said:
        print(line)
    sweep = read_sweep(str(target))
    print(f"written: {target} with {len(table.cases)} cases x {len(sweep.seeds)} seeds; lmeff plan {target}")


def _run(sweep: "Sweep", options: argparse.Namespace) -> int:
    from lmeff.cli.accelerate_launch import num_processes_of
    from lmeff.cli.input_checks import check_run_of
    from lmeff.logs import is_quiet, note
    from lmeff.runs.completed import is_complete
    from lmeff.sweeps.local import devices_of, run_cases, visible_devices
    from lmeff.sweeps.rungs.of_sweep import SweepRungs
    from lmeff.sweeps.table import LiveTable

    processes, on_cpus = num_processes_of(options.launcher, options.num_processes)
    devices = [] if on_cpus else visible_devices()
    if devices:
        devices_of(0, devices, processes)  # whether there are enough
    _check_recipes(sweep, options)
    _check_cases([case for case in sweep.cases if not is_complete(case.run)], check_run_of)
    words = [options.sweep, *options.overrides]
    words += ["--launcher", options.launcher] if options.launcher else []
    words += ["--num-processes", str(options.num_processes)] if options.num_processes else []
    if (rungs := SweepRungs.of(sweep)) and (others := sweep.not_compared):
        said = ", ".join(map(str, others))
        note(f"no cases of {sweep.file} itself, so no rule compares them or waits for them: {said}")
    words += ["--pause-at-rungs"] if rungs else []
    numbered = len(sweep.cases) > 1
    table = LiveTable(sweep, _write_nothing if is_quiet() else _write, sys.stderr.isatty())
    progress = run_cases(
        sweep.cases,
        lambda case: [
            *(sys.executable, "-m", "lmeff.cli", "train", *words),
            *(["--index", str(case.index)] if numbered else []),
        ],
        options.jobs,
        table,
        processes,
        devices,
        rungs,
    )
    table.close()
    outcomes = list(progress.outcomes.values())
    num_complete, num_killed = outcomes.count("complete"), outcomes.count("killed")
    left = len(sweep.cases) - num_complete - num_killed
    killed = f", {num_killed} killed ({rungs.log})" if rungs and num_killed else ""
    print(f"{sweep.name}: {num_complete} of {len(sweep.cases)} cases are complete{killed}")
    if progress.paused:
        num_waiting = len(progress.waiting)
        more = f"; {sweep.file} is compared as a whole: run it without words that choose cases" if sweep.is_part else ""
        print(f"{'one case waits' if num_waiting == 1 else f'{num_waiting} cases wait'} {progress.paused}{more}")
    for index, outcome in sorted(progress.outcomes.items()):
        if outcome == "failed":
            case = sweep.cases[index]
            print(f"case {index} ({case}) failed: {progress.why[index]}; all that it printed: {case.run.printed_txt}")
    num_failed = outcomes.count("failed")
    if left and not num_failed:
        print("interrupted; the same command goes on", file=sys.stderr)
        return EXIT_INTERRUPTED
    if options.profile and num_complete and left == num_failed:
        from lmeff.sweeps.profiles import profile_finals

        num_now = profile_finals(sweep, note)
        print(f"{sweep.name}: profiles of the final models are there, {num_now} of them new")
    return EXIT_FAILED if num_failed else 0


def _submit(sweep: "Sweep", options: argparse.Namespace) -> None:
    from lmeff.cli.input_checks import check_recipe_tasks, check_text_of
    from lmeff.sweeps.slurm import check_templates, submission, submit

    check_templates(options.slurm)
    _check_recipes(sweep, options)
    _check_cases(sweep.cases, check_text_of)
    _check_cases(sweep.cases, check_recipe_tasks)
    jobs = submission(sweep, [sweep.file, *options.overrides])
    for line in submit(jobs, options.slurm, options.dry_run):
        print(line, flush=True)


def _check_cases(cases: Sequence["Case"], check: Callable[["Resolved"], None]) -> None:
    """Raises InputError with what is wrong in any of the cases, each mistake once."""
    mistakes: list[str] = []
    for case in cases:
        try:
            check(case.resolved)
        except InputError as error:
            mistakes += error.mistakes
    if mistakes:
        raise InputError(*dict.fromkeys(mistakes))


def _check_recipes(sweep: "Sweep", options: argparse.Namespace) -> None:
    """Raises InputError for folders whose runs were told to train otherwise: they are not the cases, complete or not."""
    from lmeff.sweeps.states import other_recipes

    if mistakes := other_recipes(sweep, shlex.join([options.sweep, *options.overrides])):
        raise InputError(*mistakes)


def _write(text: str) -> None:
    print(text, end="", file=sys.stderr, flush=True)


def _write_nothing(text: str) -> None:
    """What `-q` leaves of the table."""


def _rank(sweep: "Sweep", options: argparse.Namespace) -> None:
    from lmeff.sweeps.ranking.finalists import words_that_remain, write_finalists
    from lmeff.sweeps.ranking.rank import rank_sweep
    from lmeff.sweeps.ranking.text import format_ranking

    ranking, words = rank_sweep(sweep, options.metric), options.overrides
    names = write_finalists(Path(options.write), sweep, words, ranking, options.top or 3) if options.write else []
    if options.json:
        import json

        print(json.dumps(ranking, indent=2, ensure_ascii=False))
        return
    print(format_ranking(ranking, options.top))
    if names:
        command = shlex.join(["lmeff", "sweep", "list", options.write, *words_that_remain(words)])
        print(f"written: {options.write} with {', '.join(names)}; {command}")
