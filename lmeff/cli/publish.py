"""`lmeff publish`: delivers what is not on the Hub yet."""

import argparse
import sys
from pathlib import Path

from lmeff.cli.argument_types import not_negative, path
from lmeff.errors import EXIT_FAILED

SUMMARY = "deliver what is not on the Hub yet of a run, and cards that have changed since"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("run", type=path, metavar="RUN")
    parser.add_argument("--namespace", metavar="NAME", help="user or organization, in place of the recipe's")
    text = "seconds to go on trying where the Hub is in trouble (600; 30 where it cannot be reached at all)"
    parser.add_argument("--wait", type=not_negative, metavar="SECONDS", help=text)
    text = "first correct files that some versions of transformers read otherwise than lmeff does; weights stay as they are"
    parser.add_argument("--mend", action="store_true", help=text)


def run(options: argparse.Namespace) -> int:
    from lmeff.cli.input_checks import check_run

    check_run(options.run)
    from lmeff.publishing.folder import undelivered_text
    from lmeff.publishing.publish import publish

    left = publish(Path(options.run), options.namespace, options.wait, options.mend)
    if left:
        print(undelivered_text(Path(options.run), left), file=sys.stderr)
    return EXIT_FAILED if left else 0
