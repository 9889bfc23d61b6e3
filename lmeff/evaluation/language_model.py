"""The models lm-eval sees: a Hugging Face model, scored task by task in float32, and one that repeats its answers."""

import logging
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import lm_eval.api.task
import numpy
import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.models.huggingface import HFLM
from tqdm import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.integrations import deepspeed as hf_deepspeed
from transformers.utils import logging as transformers_logging

from lmeff.errors import InputError


class TaskwiseLM(HFLM):
    """lm-eval's Hugging Face model, scoring one task after another.

    lm-eval sorts the requests of all tasks together, so which sentences share a batch, and with it the last bits of a
    score, depends on what else was asked for. Here the scores of a task depend on that task only: they are the same
    alone, within a group, and on another rank.
    """

    progress = True

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        responses = []
        # disable=None: shown on a terminal, absent from a log file
        with tqdm(total=len(requests), desc="Scoring", unit="text", disable=None if self.progress else True) as bar:
            for _, group in groupby(requests, key=lambda request: request.task_name):
                batch = list(group)
                responses += super().loglikelihood(batch, disable_tqdm=True)
                bar.update(len(batch))
        return responses

    def _loglikelihood_tokens(self, requests: list, **options: Any) -> list[tuple[float, bool]]:
        longest = max((len(continuation) for _, _, continuation in requests), default=0)
        if longest > self.max_length:
            raise InputError(f"a text to score has {longest} tokens; the model takes at most {self.max_length}")
        return super()._loglikelihood_tokens(requests, **options)


class ReplayLM(LM):
    """Answers every request as it was answered before: `{task: {request type: [answer, ...]}}`, in the order of asking.

    lm-eval then computes its results, with its own groups and error bars, from answers that several processes gave.
    """

    def __init__(self, answers: dict[str, dict[str, list]]) -> None:
        super().__init__()
        self._answers = {(task, kind): iter(given) for task, kinds in answers.items() for kind, given in kinds.items()}

    def _replay(self, requests: list[Instance]) -> list:
        answers = (next(self._answers[request.task_name, request.request_type]) for request in requests)
        return [tuple(answer) if isinstance(answer, list) else answer for answer in answers]  # JSON has no tuples

    loglikelihood = loglikelihood_rolling = generate_until = _replay


def load_model(folder: Path, device: str | None, *, batch_size: int, progress: bool) -> TaskwiseLM:
    """The model of a folder in float32, ready for lm-eval. Safetensors only, no code from the folder is run.

    The model object is made here, so that lm-eval's `HFLM` takes this process for the only one and does not divide the
    work among the ranks of a process group itself.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    options = {"trust_remote_code": False, "local_files_only": True}
    with _no_zero3():
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, use_safetensors=True, **options)
    model.config.use_cache = False  # scoring is one forward pass; keys and values would be kept for nothing
    tokenizer = AutoTokenizer.from_pretrained(folder, **options)
    wrapped = TaskwiseLM(
        pretrained=model.to(device), tokenizer=tokenizer, batch_size=batch_size, softmax_dtype="float32"
    )
    wrapped.progress = progress
    return wrapped


@contextmanager
def undisturbed() -> Iterator[None]:
    """Scoring in full float32 that leaves the process as it was: random states, TF32 setting, logging, progress bars.

    Random states matter because training goes on after an anchor was scored, and must not depend on that.
    """
    logger, matmul = logging.getLogger("lm_eval"), torch.backends.cuda.matmul
    setting, full = ("fp32_precision", "ieee") if hasattr(matmul, "fp32_precision") else ("allow_tf32", False)
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng([torch.cuda.current_device()] if torch.cuda.is_available() else []))
        stack.callback(random.setstate, random.getstate())
        stack.callback(numpy.random.set_state, numpy.random.get_state())
        stack.callback(setattr, matmul, setting, getattr(matmul, setting))
        setattr(matmul, setting, full)
        stack.callback(logger.setLevel, logger.level)
        logger.setLevel(logging.ERROR)
        stack.callback(setattr, lm_eval.api.task, "tqdm", lm_eval.api.task.tqdm)
        lm_eval.api.task.tqdm = partial(tqdm, disable=True)  # else a bar for each of the 67 tasks
        if transformers_logging.is_progress_bar_enabled():
            stack.callback(transformers_logging.enable_progress_bar)
            transformers_logging.disable_progress_bar()
        yield


@contextmanager
def _no_zero3() -> Iterator[None]:
    """Under ZeRO-3 training transformers would scatter every model it loads; this one stays whole."""
    reference = hf_deepspeed._hf_deepspeed_config_weak_ref
    hf_deepspeed.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        hf_deepspeed._hf_deepspeed_config_weak_ref = reference
