"""`lmeff VERB`: finds the verb, a module of this folder with `SUMMARY`, `add_arguments` and `run`.

What goes wrong becomes one line and an exit code. No verb imports anything heavy before it runs.
"""

import argparse
import errno
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

import lmeff
from lmeff.cli.help import GROUPS, Parser, check_verb, grouped_verbs, settle_environment
from lmeff.cli.lm_eval import run_words
from lmeff.errors import EXIT_FAILED, EXIT_INPUT, EXIT_INTERRUPTED, InputError, RunFailed
from lmeff.logs import add_options, set_verbosity
from lmeff.packages import missing_package

_UNUSABLE_PATHS = {
    errno.ENOENT: "no such file or folder",
    errno.ENOTDIR: "a part of this path is a file, not a folder; name another place",
    errno.EACCES: "this user may not read or write there; name another place",
    errno.EPERM: "this user may not read or write there; name another place",
    errno.EROFS: "nothing can be written there; name another place",
}
"""What to say of a path that was named and cannot be used, in place of the system's words."""


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line, with all verbs."""
    form = argparse.RawDescriptionHelpFormatter
    parser = Parser(prog="lmeff", description=lmeff.__doc__, usage="lmeff VERB ...", formatter_class=form)
    parser.add_argument("--version", action="version", version=f"lmeff {lmeff.__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True, help=argparse.SUPPRESS)
    summaries: dict[str, str] = {}
    for name in (name for names in GROUPS.values() for name in names):
        verb = import_module(f"lmeff.cli.{name.replace('-', '_')}")
        summaries[name] = verb.SUMMARY
        sub = verbs.add_parser(name, description=verb.SUMMARY, prog=f"lmeff {name}")
        sub.set_defaults(action=verb.run)
        verb.add_arguments(sub)
        if name != "lm-eval":  # its options are lm-eval's
            add_options(sub)
    parser.epilog = grouped_verbs(summaries)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0, 1 (it failed), 2 (the input is wrong, or a package is missing; one line each on stderr), 75
    (interrupted)."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        settle_environment(words)
        if words[:1] == ["lm-eval"]:  # its options are its own
            return run_words(words[1:])
        parser = make_parser()
        check_verb(parser, words)
        options = parser.parse_args(words)
        set_verbosity(getattr(options, "verbosity", None))
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
            why = _UNUSABLE_PATHS.get(error.errno or 0, error.strerror)
            print(f"{os.fsdecode(error.filename)}: {why}", file=sys.stderr)
            return EXIT_INPUT
        if missing := missing_package(error):
            print(missing, file=sys.stderr)
            return EXIT_INPUT
        traceback.print_exc()
        return EXIT_FAILED
