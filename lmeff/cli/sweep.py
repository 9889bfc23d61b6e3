"""`lmeff sweep`: many recipes from one, by the axes of a file or lists on the command line."""

import argparse

from lmeff.cli.argument_types import overrides_anywhere, path
from lmeff.errors import InputError

SUMMARY = "many recipes from one: what its cases are, and what they are doing"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("what", choices=["list", "show"])
    parser.add_argument("sweep", type=path, metavar="SWEEP", help="a sweep, or a recipe with lists: seed=[0,1,2]")
    parser.add_argument("index", nargs="?", type=int, metavar="N", help="show: the number of the case, from 0")
    text = "keys for all cases; a list is an axis, such as model.size=[20m,60m]"
    parser.add_argument("overrides", nargs="*", default=[], metavar="section.key=value", help=text)
    overrides_anywhere(parser)
    parser.add_argument("--json", action="store_true", help="list: as JSON")
    text = "list: the number of the last case alone, for sbatch --array=0-$(lmeff sweep list SWEEP --last)"
    parser.add_argument("--last", action="store_true", help=text)


def run(options: argparse.Namespace) -> None:
    from lmeff.sweeps import read_sweep

    sweep = read_sweep(options.sweep, options.overrides)
    if options.what == "show":
        if options.index is None:
            raise InputError(f"lmeff sweep show: which case? {options.sweep} has {sweep.describe_numbers()}")
        case = sweep.case(options.index)
        print(f"# case {case.index} of {sweep.name}: {case.run}\n{case.resolved.to_yaml()}", end="")
        return
    if options.last:
        print(sweep.cases[-1].index)
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
