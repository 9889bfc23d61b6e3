"""What lmeff says while it works: one logger, `lmeff`, with one handler, and how much of it is wanted (`-q`, `-v`).

Output goes to standard output, everything else to standard error. Only `lmeff/cli/` prints by itself.
"""

import argparse
import logging
import os
import sys

_LOGGER = logging.getLogger("lmeff")
_OUTPUT = logging.INFO + 5
_VARIABLE = "LMEFF_VERBOSITY"
"""Tells the processes that a launcher starts how much is wanted: -1, 0 or 1."""


class _Streams(logging.Handler):
    """Writes a record's words alone. The streams are looked up for each record, since whoever redirects them means us, too."""

    def emit(self, record: logging.LogRecord) -> None:
        stream = sys.stdout if record.levelno == _OUTPUT else sys.stderr
        try:
            print(record.getMessage(), file=stream, flush=True)
        except BrokenPipeError:  # nobody reads on
            raise
        except Exception:
            self.handleError(record)


def say(text: str) -> None:
    """A line of the output, which `-q` leaves."""
    _LOGGER.log(_OUTPUT, "%s", text)


def note(text: str) -> None:
    """Something worth knowing, on standard error; not with `-q`."""
    _LOGGER.info("%s", text)


def warn(text: str) -> None:
    """Something that may be wrong or that failed, on standard error, whatever is wanted."""
    _LOGGER.warning("%s", text)


def is_quiet() -> bool:
    """Whether notes and progress are not wanted."""
    return _LOGGER.level > logging.INFO


def add_options(parser: argparse.ArgumentParser) -> None:
    """`-q` and `-v`."""
    group = parser.add_mutually_exclusive_group()
    text = "no notes and no progress: output, warnings and errors only"
    group.add_argument("-q", "--quiet", dest="verbosity", action="store_const", const=-1, default=None, help=text)
    text = "also what the libraries beneath say (transformers, accelerate, lm-eval, the Hub's client)"
    group.add_argument("-v", "--verbose", dest="verbosity", action="store_const", const=1, help=text)


def set_verbosity(verbosity: int | None) -> None:
    """-1 for `-q`, 1 for `-v`, 0 for neither; None: what the process that started this one was told, else 0."""
    if verbosity is None:
        verbosity = {"-1": -1, "1": 1}.get(os.environ.get(_VARIABLE, ""), 0)
    os.environ[_VARIABLE] = str(verbosity)
    _LOGGER.setLevel({-1: _OUTPUT, 0: logging.INFO, 1: logging.DEBUG}[verbosity])
    if verbosity == 1:
        os.environ["TRANSFORMERS_VERBOSITY"] = os.environ["HF_HUB_VERBOSITY"] = os.environ["DATASETS_VERBOSITY"] = (
            "info"
        )
        os.environ["ACCELERATE_LOG_LEVEL"] = "INFO"


_LOGGER.addHandler(_Streams())
_LOGGER.setLevel(logging.INFO)
_LOGGER.propagate = False
