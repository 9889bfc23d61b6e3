"""lm-eval's own results, with its groups and error bars, from answers that several processes gave before."""

from collections.abc import Mapping

import lm_eval
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from lmeff.evaluation.tasks.items import correct_stderrs
from lmeff.evaluation.tasks.loaded import LoadedTask

BOOTSTRAP_ITERATIONS = 1000
"""For metrics without a formula for their standard error. The mean has one, but zero here would drop that too."""


def aggregate(loaded: LoadedTask, answers: Mapping[str, Mapping[str, list]], limit: int | None) -> dict:
    """What `lm_eval.evaluate` returns for a task or group.

    Args:
        answers: by task and request type, in the order of asking.
        limit: so many examples of each task were asked about; None: all.
    """
    result = lm_eval.evaluate(
        ReplayLM(answers),
        loaded.for_lm_eval(),
        limit=limit,
        bootstrap_iters=BOOTSTRAP_ITERATIONS,
        log_samples=False,
    )
    correct_stderrs(result, loaded.tasks, loaded.groups)
    return result


class ReplayLM(LM):
    """A model for lm-eval that answers every request as it was answered before."""

    def __init__(self, answers: Mapping[str, Mapping[str, list]]) -> None:
        super().__init__()
        self._answers = {(task, kind): iter(given) for task, kinds in answers.items() for kind, given in kinds.items()}

    def _replay(self, requests: list[Instance]) -> list:
        answers = (next(self._answers[request.task_name, request.request_type]) for request in requests)
        return [tuple(answer) if isinstance(answer, list) else answer for answer in answers]  # JSON has no tuples

    loglikelihood = loglikelihood_rolling = generate_until = _replay
