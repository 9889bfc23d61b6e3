"""lm-eval's own command line with our model and our tasks."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from lmeff.errors import InputError, RunFailed
from lmeff.evaluation.tasks.names import tasks_folder, unknown_tasks
from lmeff.formats.run_folder import RunFolder, suggest_run

_FOR_PEOPLE = ("Tasks not found", "Attempted to load model")
"""How lm-eval's errors begin that say what a user should write otherwise."""
_REMOTE = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_OTHERS_REMOTE = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
"""lm-eval's other models also take old names of the Hub, such as gpt2."""
_OUR_TASKS = "`lmeff tasks --list` names our tasks"


def lm_eval(arguments: Sequence[str]) -> int:
    """`lmeff lm-eval ...`: lm-eval's own command line with the model `lmeff`, and our tasks where no folder is named.

    Raises InputError and RunFailed with one line for a model or task that is not there.
    """
    _check_model(arguments)
    _check_tasks(arguments)
    from lm_eval import models  # noqa: F401  (registers lm-eval's own, which it does itself only where there are none)
    from lm_eval.__main__ import cli_evaluate
    from lm_eval.api.registry import model_registry

    if "lmeff" not in model_registry:
        model_registry.register("lmeff", target="lmeff.evaluation.scorer.language_model:LmeffLM")
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
        raise InputError(f"lm-eval: {' '.join(str(error).split())}; {_OUR_TASKS}") from None
    finally:
        sys.argv = before
    return 0


def _values(arguments: Sequence[str], *options: str) -> list[str]:
    """What is said by an option that takes one or more words, by any of its names."""
    values, is_taking = [], False
    for word in arguments:
        if word.startswith("-"):
            option, equals, value = word.partition("=")
            is_taking = option in options and not equals
            values += [value] if option in options and equals else []
        elif is_taking:
            values.append(word)
    return values


def _check_model(arguments: Sequence[str]) -> None:
    """Raises InputError for `pretrained=FOLDER` that is not there or holds no model, before anything is imported."""
    remote = _REMOTE if _values(arguments, "--model", "-M") == ["lmeff"] else _OTHERS_REMOTE
    for setting in ",".join(_values(arguments, "--model_args", "-a")).split(","):
        key, _, value = setting.partition("=")
        if key != "pretrained" or not value:
            continue
        folder = Path(value)
        if folder.is_dir() and not (folder / "config.json").is_file():
            inside = [path.parent for path in RunFolder(folder).find_in_revisions("config.json")]
            such = f"; a run's models are in it, such as {inside[-1]}" if inside else suggest_run(folder)
            raise InputError(f"pretrained={value}: is no model folder, it has no config.json{such}")
        if not folder.exists() and (Path(value.partition("/")[0]).is_dir() or not remote.fullmatch(value)):
            such = "" if "/" in value else "; a model of the Hub is NAMESPACE/REPO, such as openai-community/gpt2"
            raise InputError(f"pretrained={value}: no such folder{such}")


def _check_tasks(arguments: Sequence[str]) -> None:
    """Raises InputError for tasks that stand in no task file, before anything is imported. Patterns and files are lm-eval's to
    find."""
    (include_path,) = _values(arguments, "--include_path")[-1:] or (None,)
    if include_path and not Path(include_path).is_dir():
        raise InputError(f"--include_path {include_path}: no such folder")
    names = [name for name in ",".join(_values(arguments, "--tasks", "-t")).split(",") if re.fullmatch(r"[\w-]+", name)]
    if mistakes := unknown_tasks([name for name in names if not name.startswith("list")], include_path):
        raise InputError(*(f"lm-eval: {mistake}; {_OUR_TASKS}" for mistake in mistakes))
