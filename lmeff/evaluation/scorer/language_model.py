"""The model lm-eval sees: the fast scorer `lmeff`."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from lm_eval.api.instance import Instance
from tqdm import tqdm
from transformers import AutoTokenizer
from transformers.utils import cached_file

from lmeff.errors import InputError
from lmeff.evaluation.minimal_pairs import are_sentence_pairs, is_sentence_pair
from lmeff.evaluation.scorer.adaptive import Adapted, adapt
from lmeff.evaluation.scorer.answer_tokens import ContextStart, check_context_start
from lmeff.evaluation.scorer.compiled import CompiledScorer, compiled_scorer, is_worth_compiling
from lmeff.evaluation.scorer.encoding import (
    EncodesAhead,
    TokenRequest,
    check_ids,
    check_lengths,
    digest,
    keep,
    model_requests,
    tokenizer_digest,
)
from lmeff.evaluation.scorer.lengths import KnowsLengths
from lmeff.evaluation.scorer.prefix_tree import Layout, lay_out
from lmeff.evaluation.scorer.tree_scorer import Answer, TreeScorer, Undecided, finish, takes_trees
from lmeff.library_internals import models_loaded_whole
from lmeff.logs import is_quiet
from lmeff.models.causality import check_causal
from lmeff.models.device import is_out_of_memory
from lmeff.models.loading import check_one_stack, check_tokenizer, check_weights, load_causal_model
from lmeff.tokens.tokenizer.document_ids import beginning_and_end

_TEXTS_AT_ONCE = {"cpu": 256, "cuda": 2048}
"""For `batch_size: auto`. On a GPU halved when memory is short."""
_LM_EVALS_AT_ONCE = 64
"""For `batch_size: auto` where lm-eval's own code scores or generates."""

_CHOSEN = "loglikelihood"

Ready = Callable[[], list[Answer]]
"""Gives answers that may still be on their way from the device."""


class LmeffLM(KnowsLengths, EncodesAhead):
    """lm-eval's Hugging Face model, scoring log-likelihoods of any task several times faster.

    Texts of a task are encoded at once, laid out as trees of prefixes, and given logits only where a token is scored, with
    the log-sum-exp in float32. Answers are those of lm-eval's `hf` but for the last bits of float32. They depend on their
    task alone, not on its group or the rank; bfloat16's last bits also on whether there is enough to score for compiling
    the model. A model whose attention takes no trees (`takes_trees`) is scored by lm-eval's own code.

        lmeff lm-eval run --model lmeff --model_args pretrained=MODEL,precision=adaptive --tasks lmeff_blimp --batch_size auto

    Args:
        pretrained: a folder, a Hub repository, or a loaded model.
        exact: lm-eval's own scoring, with its batches, bit for bit.
        precision: `float32`; or `adaptive`: minimal pairs in bfloat16, and again in float32 where that could change which
            sentence is the more probable one. The log-likelihoods of the other pairs are bfloat16's.
        context_start: `bos`: a context begins with one BOS, like every text; stock lm-eval does so with `add_bos_token=True`.
            `tokenizer`: with what its tokenizer puts there by itself.
        batch_size: texts in one forward pass; `auto` for as many as suit the device.
        others: as lm-eval's `HFLM` takes them.
    """

    def __init__(
        self,
        pretrained: Any,
        *,
        exact: bool = False,
        precision: Literal["float32", "adaptive"] = "float32",
        context_start: ContextStart = "bos",
        batch_size: int | str | None = "auto",
        dtype: str | torch.dtype | None = "float32",
        softmax_dtype: str | torch.dtype | None = "float32",
        trust_remote_code: bool | None = False,
        **others: Any,
    ) -> None:
        if trust_remote_code:
            raise InputError("lmeff runs no code that comes with a model; use --model hf for this one")
        if precision not in ("float32", "adaptive"):
            raise InputError(f"precision={precision}: float32 or adaptive")
        if exact and precision == "adaptive":
            raise InputError("exact=true is lm-eval's own scoring in float32; it goes without precision=adaptive")
        check_context_start(context_start)
        if context_start == "bos" and others.get("add_bos_token") is False:
            raise InputError("add_bos_token=false contradicts context_start=bos; it goes with context_start=tokenizer")
        if context_start == "tokenizer" and others.get("add_bos_token"):
            raise InputError(
                "add_bos_token=true contradicts context_start=tokenizer; it is what context_start=bos does"
            )
        # lm-eval's cache for last tokens answers wrongly where two requests divide the same tokens differently.
        others.setdefault("logits_cache", exact)
        automatic = str(batch_size).startswith("auto")
        if isinstance(pretrained, str):
            others.setdefault("use_safetensors", True)
        super().__init__(
            pretrained,
            batch_size=_LM_EVALS_AT_ONCE if automatic else batch_size,
            dtype=dtype,
            softmax_dtype=softmax_dtype,
            **others,
        )
        if isinstance(pretrained, str):  # a model that was handed over was looked at by who loaded it
            check_one_stack(pretrained, self.model.config)
            if others["use_safetensors"] and not others.get("gguf_file"):
                check_weights(_folder_of(pretrained, others))
            check_causal(self.model, pretrained)
        self.exact, self.adaptive, self.context_start = exact, precision == "adaptive", context_start
        default = _TEXTS_AT_ONCE.get(self.device.type, 256)
        self._texts_at_once, self._automatic = default if automatic else int(self.batch_size), automatic
        self.progress = True
        self.adapted: dict[str, Adapted] = {}
        """With `precision: adaptive`: what was done, by task of minimal pairs. Others are scored in float32."""
        self.num_cut: dict[str, int] = {}
        """By task: contexts that were too long for the model and lost their beginning."""

    @cached_property
    def _trees(self) -> bool:
        if self.backend != "causal":
            return False
        try:
            return takes_trees(self.model, self.max_length)
        except Undecided:
            return False

    @cached_property
    def _scorer(self) -> TreeScorer:
        return TreeScorer(self.model)

    @cached_property
    def _plain_rough_scorer(self) -> TreeScorer:
        return TreeScorer(copy.deepcopy(self.model).to(torch.bfloat16))

    @cached_property
    def _compiled_rough_scorer(self) -> TreeScorer:
        return compiled_scorer(self.model) or self._plain_rough_scorer

    def _forget_weights(self) -> None:
        """The model may have been changed since its weights were copied and tried."""
        for name in ("_trees", "_scorer", "_plain_rough_scorer", "_compiled_rough_scorer"):
            self.__dict__.pop(name, None)

    def rough_scorer(self, num_texts: int) -> TreeScorer:
        """In bfloat16; compiled where so many texts are worth it."""
        return self._compiled_rough_scorer if is_worth_compiling(self.model, num_texts) else self._plain_rough_scorer

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[Answer]:
        if self.exact:
            return finite(super().loglikelihood(requests, disable_tqdm=disable_tqdm), requests)
        answers = [answer for given in self.answers_by_task(requests, ahead=None) for answer in given]
        for request, answer in zip(requests, answers, strict=True):
            self.cache_hook.add_partial("loglikelihood", request.args, answer)
        return answers

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        self._forget_weights()
        return finite(super().loglikelihood_rolling(requests, disable_tqdm=disable_tqdm), requests)

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        at_most = self.most_written_at_once()
        return self._by_lm_eval(super().generate_until, requests, at_most, disable_tqdm=disable_tqdm)

    def answers_by_task(
        self, requests: Iterable[Instance], ahead: int | None = 1, num_texts: Mapping[str, int] | None = None
    ) -> Iterator[list[Answer]]:
        """Answers to the requests of one task after another, in order.

        Args:
            num_texts: by task, of all that it is scored with, now, before or on another rank. Default: of these requests.
            ahead: how many tasks a GPU is given before the answers of the first are read; None for all.
        """
        self._forget_weights()
        tasks = [list(group) for _, group in groupby(requests, key=lambda request: request.task_name)]
        waiting: list[Ready] = []
        self._num_texts = dict.fromkeys((task[0].task_name for task in tasks), sum(map(len, tasks))) | (num_texts or {})
        # disable=None: shown on a terminal, absent from a log file
        with tqdm(
            total=sum(map(len, tasks)),
            desc="Scoring",
            unit="text",
            disable=None if self.progress and not is_quiet() else True,
        ) as bar:
            for task in tasks:
                waiting.append(self._ask(task))
                bar.update(len(task))
                if ahead is not None and len(waiting) > ahead:
                    yield waiting.pop(0)()
            yield from (ready() for ready in waiting)

    def _ask(self, instances: list[Instance]) -> Ready:
        task = instances[0].task_name
        encoded = keep(self._key(instances), lambda: self._tokens_of(instances))
        longest = self.max_length + 1
        self.num_cut[task] = sum(len(context) + len(rest) > longest for _, context, rest in encoded)
        check_ids(encoded, self.model)
        if self.exact or not self._trees or self.must_be_alone(encoded):
            answers = finite(self._tokens_by_lm_eval(encoded, disable_tqdm=True), instances)
            return lambda: answers
        if self.adaptive and are_sentence_pairs(instances):
            self.adapted[task] = self._adapt(instances, encoded)
            return lambda: finite(self.adapted[task].answers, instances)
        pending = self._with_room(lambda size: self._scorer.start(self._layout(instances, encoded, size)))
        return lambda: finite(next(finish([pending])), instances)

    def _adapt(self, instances: list[Instance], encoded: list[TokenRequest]) -> Adapted:
        def exactly(numbers: list[int]) -> list[Answer]:
            chosen = [requests[number] for number in numbers]
            return self._with_room(lambda size: self._scorer.score(lay_out(chosen, size)))

        requests = model_requests(encoded, self.max_length)
        # Matrix products in bfloat16 want more rows at once.
        scorer = self.rough_scorer(self._num_texts[instances[0].task_name])
        rough = self._with_room(lambda size: scorer.score(self._layout(instances, encoded, 2 * size)))
        return replace(adapt(rough, exactly), compiled=isinstance(scorer, CompiledScorer))

    def _tokens_by_lm_eval(self, requests: list[TokenRequest], **options: Any) -> list[Answer]:
        at_most = 1 if self.must_be_alone(requests) else None
        return self._by_lm_eval(super()._loglikelihood_tokens, requests, at_most, **options)

    def _by_lm_eval(self, ask: Callable[..., list], requests: list, at_most: int | None = None, **options: Any) -> list:
        def score(size: int) -> list:
            self.batch_size_per_gpu = size
            return ask(requests, **options)

        return self._with_room(score, at_most or (_LM_EVALS_AT_ONCE if self._automatic else None))

    def _with_room(self, score: Callable[[int], Any], at_most: int | None = None) -> Any:
        """`score(texts at once)`, with half as many after each time that the memory does not suffice."""
        while True:
            size = min(self._texts_at_once, at_most or self._texts_at_once)
            try:
                return score(size)
            except (RuntimeError, MemoryError) as error:
                if not (is_out_of_memory(error) and self._automatic and size > 1):
                    raise
            self._texts_at_once = size // 2
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _layout(self, instances: list[Instance], encoded: list[TokenRequest], size: int) -> Layout:
        return keep((*self._key(instances), size), lambda: lay_out(model_requests(encoded, self.max_length), size))

    def _tokens_of(self, instances: list[Instance]) -> list[TokenRequest]:
        found = self.token_requests(instances)
        check_lengths(found, self.max_length)
        return found

    def _key(self, instances: list[Instance]) -> tuple:
        return self._encoding_digest, digest(part for instance in instances for part in instance.args)

    @cached_property
    def _encoding_digest(self) -> tuple:
        start = self.context_start, self.add_bos_token, self.prefix_token_id
        return tokenizer_digest(self.tokenizer), *start, self.max_length

    def _loglikelihood_tokens(self, requests: list, **options: Any) -> list[Answer]:
        """For what comes as tokens: windows of `loglikelihood_rolling`."""
        check_ids(requests, self.model)
        if self.exact or not self._trees or self.must_be_alone(requests):
            return self._tokens_by_lm_eval(requests, **options)
        check_lengths(requests, self.max_length)
        found = model_requests(requests, self.max_length)
        return self._with_room(lambda size: self._scorer.score(lay_out(found, size)))


def _folder_of(pretrained: str, options: Mapping[str, Any]) -> Path:
    """Where a model that was just loaded lies: a folder, or the snapshot of a repository in the cache."""
    wanted = {name: options[name] for name in ("revision", "subfolder", "cache_dir") if options.get(name)}
    return Path(cached_file(pretrained, "config.json", local_files_only=True, **wanted)).parent


Found = TypeVar("Found", Answer, float)


def finite(answers: list[Found], instances: Sequence[Instance]) -> list[Found]:
    """The answers themselves. Raises ValueError naming task and document when one is not finite: numpy's `argmax`, by which
    lm-eval's own tasks choose, takes NaN for the largest number, so a model that computes NaN would be right every time."""
    for answer, instance in zip(answers, instances, strict=True):
        value = answer[0] if isinstance(answer, tuple) else answer
        if not np.isfinite(value):
            kind = "pair" if is_sentence_pair(instance.doc) else "document"
            raise ValueError(
                f"{instance.task_name}, {kind} {instance.doc_id}: a log-probability is {value}, not finite"
            )
    return answers


def load_model(
    folder: Path,
    device: str | None,
    *,
    batch_size: int | str = "auto",
    progress: bool,
    exact: bool = False,
    precision: str = "float32",
    context_start: ContextStart = "bos",
) -> LmeffLM:
    """The model of a folder in float32, ready for lm-eval. Raises InputError as `load_causal_model` does.

    The model object is made here, so that lm-eval's `HFLM` takes this process for the only one and does not divide the
    work among the ranks of a process group itself.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    with models_loaded_whole():
        model = load_causal_model(folder)
    model.config.use_cache = False  # scoring is one forward pass; keys and values would be kept for nothing
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    beginning_and_end(tokenizer)
    check_tokenizer(tokenizer, model.get_input_embeddings().num_embeddings)
    options = {"batch_size": batch_size, "exact": exact, "precision": precision, "context_start": context_start}
    wrapped = LmeffLM(model.to(device), tokenizer=tokenizer, **options)
    wrapped.progress = progress
    return wrapped


def answers_by_task(
    model: LmeffLM, requests: Mapping[str, Sequence[Instance]], num_texts: Mapping[str, int]
) -> Iterator[tuple[str, dict[str, list]]]:
    """What the model answers to each task, by request type, task after task as they are done."""
    chosen = {name: given for name, given in requests.items() if all(one.request_type == _CHOSEN for one in given)}
    flat = (request for given in chosen.values() for request in given for _ in range(request.repeats))
    for name, answers in zip(chosen, model.answers_by_task(flat, num_texts=num_texts), strict=True):
        yield name, {_CHOSEN: answers}
    for name in requests.keys() - chosen:
        kinds = dict.fromkeys(request.request_type for request in requests[name])
        asked = {kind: [one for one in requests[name] if one.request_type == kind] for kind in kinds}
        flat = {kind: [one for one in given for _ in range(one.repeats)] for kind, given in asked.items()}
        yield name, {kind: getattr(model, kind)(given) for kind, given in flat.items()}
