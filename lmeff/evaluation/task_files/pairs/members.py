"""The tasks of `lmeff_pairs` for stock lm-eval, which runs this file when it loads the group: those of the folder that
LMEFF_EVAL_DATA names. Our own evaluation hands lm-eval the tasks of the folder that a recipe names."""

from lmeff.evaluation.tasks.pair_folder import pair_tasks

TASKS = pair_tasks({})
