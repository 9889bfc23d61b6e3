"""`lmeff verify`: whether revisions are what they say."""

import argparse
from pathlib import Path

from lmeff.cli.argument_types import path
from lmeff.errors import EXIT_FAILED

SUMMARY = "compare the revisions of a run with their manifests, their losses and the Hub"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("run", type=path, metavar="RUN")
    parser.add_argument("--local", action="store_true", help="do not ask the Hub")
    parser.add_argument("--no-reload", action="store_true", help="do not load the models and take their losses again")


def run(options: argparse.Namespace) -> int:
    from lmeff.publishing.verify import main as verify

    return 0 if verify(Path(options.run), reload=not options.no_reload, hub=not options.local) else EXIT_FAILED
