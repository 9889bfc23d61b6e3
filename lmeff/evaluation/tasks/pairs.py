"""What the task files here refer to. lm-eval looks for `!function pairs.NAME` in this file."""

from lmeff.evaluation.data import dataset
from lmeff.evaluation.scoring import choices, context, process_results

__all__ = ["choices", "context", "dataset", "process_results"]
