"""lm-eval's own command line with our model and our tasks."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from lmeff.errors import InputError, RunFailed
from lmeff.evaluation.task_names import tasks_folder

_FOR_PEOPLE = ("Tasks not found", "Attempted to load model")
"""How lm-eval's errors begin that say what a user should write otherwise."""
_REMOTE = re.compile(r"[\w.-]+(/[\w.-]+)?")


def lm_eval(arguments: Sequence[str]) -> int:
    """`lmeff lm-eval ...`: lm-eval's own command line with the model `lmeff`, and our tasks where no folder is named.

    Raises InputError and RunFailed with one line for a model or task that is not there.
    """
    _check_model(arguments)
    from lm_eval import models  # noqa: F401  (registers lm-eval's own, which it does itself only where there are none)
    from lm_eval.__main__ import cli_evaluate
    from lm_eval.api.registry import model_registry

    if "lmeff" not in model_registry:
        model_registry.register("lmeff", target="lmeff.evaluation.language_model:LmeffLM")
    named = any(word.split("=")[0] in ("--include_path", "--config") for word in arguments)
    first = arguments[0] if arguments else "--help"
    takes_tasks = first in ("run", "validate", "ls") or (first.startswith("-") and first not in ("-h", "--help"))
    ours = tasks_folder() if takes_tasks and not named else None
    before = sys.argv
    sys.argv = ["lm-eval", *arguments, *(["--include_path", str(ours)] if ours else [])]
    try:
        cli_evaluate()
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else int(left.code is not None)
    except OSError as error:  # such as a model that is neither here nor on the Hub
        raise RunFailed(f"lm-eval: {' '.join(str(error).split())}") from None
    except ValueError as error:
        if not str(error).startswith(_FOR_PEOPLE):
            raise
        raise InputError(f"lm-eval: {' '.join(str(error).split())}; `lmeff tasks --list` names our tasks") from None
    finally:
        sys.argv = before
    return 0


def _check_model(arguments: Sequence[str]) -> None:
    """Raises InputError for `pretrained=FOLDER` that is not there or holds no model, before anything is imported."""
    for word in arguments:
        for setting in word.removeprefix("--model_args=").split(","):
            key, _, value = setting.partition("=")
            if key != "pretrained" or not value:
                continue
            folder = Path(value)
            if folder.is_dir() and not (folder / "config.json").is_file():
                inside = sorted(path.parent for path in folder.glob("revisions/[!.]*/config.json"))
                such = f"; a run's models are in it, such as {inside[-1]}" if inside else ""
                raise InputError(f"pretrained={value}: is no model folder, it has no config.json{such}")
            if not folder.exists() and not _REMOTE.fullmatch(value):
                raise InputError(f"pretrained={value}: there is no such folder")
