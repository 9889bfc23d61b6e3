"""lm-eval's own command line with our model and our tasks."""

import sys
from collections.abc import Sequence

from lmeff.evaluation.tasks import tasks_folder


def lm_eval(arguments: Sequence[str]) -> int:
    """`lmeff lm-eval ...`: lm-eval's own command line with the model `lmeff`, and our tasks where no folder is named."""
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
    finally:
        sys.argv = before
    return 0
