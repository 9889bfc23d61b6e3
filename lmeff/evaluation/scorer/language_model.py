"""The model lm-eval sees: the fast scorer `lmeff`."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from tqdm import tqdm
from transformers.utils import cached_file

from lmeff.errors import InputError
from lmeff.evaluation.minimal_pairs import are_sentence_pairs
from lmeff.evaluation.scorer.answer_tokens import ContextStart, tokens_in_front
from lmeff.evaluation.scorer.batch_size import BatchSize
from lmeff.evaluation.scorer.checks import check_finite, check_ids, check_lengths, check_options
from lmeff.evaluation.scorer.kept import digest, keep, tokenizer_digest
from lmeff.evaluation.scorer.lengths import TextLengths
from lmeff.evaluation.scorer.masked.hidden_tokens import HiddenTokensScorer
from lmeff.evaluation.scorer.text_scorer import Ready, TextScorer
from lmeff.evaluation.scorer.token_requests import (
    TokenRequest,
    prompt_batch,
    text_ids,
    token_requests,
    window_requests,
)
from lmeff.evaluation.scorer.trees.adaptive import Adapted
from lmeff.evaluation.scorer.trees.tree_scorer import Answer
from lmeff.evaluation.scorer.ways import CAUSAL, check_scoring, frame, way_of_model
from lmeff.logs import is_quiet
from lmeff.models.causality import no_decoder
from lmeff.models.loading import check_one_stack, check_weights, language_model_class
from lmeff.recipe.sections.evaluation import Scoring
from lmeff.tokens.tokenizer.document_ids import beginning_and_end

_LM_EVALS_AT_ONCE = 64
"""For `batch_size: auto` where lm-eval's own code scores or generates."""


class LmeffLM(HFLM):
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
        scoring: `auto`: causally; models that see later tokens through masks; `causal` refuses these, `pseudo_log_likelihood`
            and `pseudo_log_likelihood_original` also take decoders with a mask token (see `ways.Way`).
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
        scoring: Scoring = "auto",
        batch_size: int | str | None = "auto",
        dtype: str | torch.dtype | None = "float32",
        softmax_dtype: str | torch.dtype | None = "float32",
        trust_remote_code: bool | None = False,
        **others: Any,
    ) -> None:
        check_options(exact, precision, context_start, others.get("add_bos_token"), trust_remote_code)
        check_scoring(scoring)
        # lm-eval's cache for last tokens answers wrongly where two requests divide the same tokens differently.
        others.setdefault("logits_cache", exact)
        self._given_length: int | None = others.get("max_length")
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
        name = pretrained if isinstance(pretrained, str) else pretrained.name_or_path or "the model"
        is_causal = self.backend == "causal"
        self.way = way_of_model(self.model, self.tokenizer, scoring, name) if is_causal else CAUSAL
        if exact and self.way != CAUSAL:
            raise InputError("exact=true is lm-eval's own scoring, which is causal; it goes without other scoring")
        self.exact, self.adaptive, self.context_start = exact, precision == "adaptive", context_start
        self._room = BatchSize(None if automatic else int(self.batch_size), self.device)
        self.progress = True
        self.adapted: dict[str, Adapted] = {}
        """With `precision: adaptive`: what was done, by task of minimal pairs. Others are scored in float32."""
        self.num_cut: dict[str, int] = {}
        """By task: contexts that were too long for the model and lost their beginning."""

    @property
    def max_length(self) -> int:
        """Tokens that the model takes; where it takes any number, how many it is given at once."""
        return self._given_length or self._lengths.window

    @cached_property
    def _lengths(self) -> TextLengths:
        return TextLengths(self.model)

    @property
    def prefix_token_id(self) -> int:
        """What a text begins with: BOS, without one EOS; of a masked model CLS. Raises InputError for a tokenizer without."""
        if self.custom_prefix_token_id is not None:
            return self.custom_prefix_token_id
        if self.way.is_pseudo:
            return frame(self.tokenizer)[0]
        return beginning_and_end(self.tokenizer)[0]

    @property
    def _front(self) -> list[int] | None:
        """What a context begins with in place of BOS, which lm-eval's `add_bos_token` may forbid."""
        if self.context_start == "bos":
            return None
        return [] if self.add_bos_token is False else tokens_in_front(self.tokenizer)

    def get_model_info(self) -> dict[str, Any]:
        """For the results of lm-eval's command line."""
        return {**super().get_model_info(), "context_start": self.context_start, **self.way.settings}

    def _get_backend(self, config: Any, *others: Any, **more: Any) -> None:
        """With the class of transformers that suits what was saved, also of a masked model."""
        super()._get_backend(config, *others, **more)
        if self.backend == "causal" and (auto := language_model_class(config)) is not None:
            self.AUTO_MODEL_CLASS = auto

    def token_requests(self, requests: Sequence[Instance]) -> list[TokenRequest]:
        """The tokens to read and to score for lm-eval's requests. Raises InputError for an empty text."""
        if empty := next((one for one in requests if not one.args[1]), None):
            raise InputError(f"{empty.task_name or 'a request'}: a text to score is empty")
        texts = [one.args for one in requests]
        if self.backend == "causal":
            return token_requests(self.tokenizer, texts, self.prefix_token_id, self._front)
        return [(each, *self._encoder_tokens(*each)) for each in texts]

    def _encoder_tokens(self, context: str, answer: str) -> tuple[list[int], list[int]]:
        """lm-eval's own: the encoder reads what the tokenizer makes of a text."""
        if context:
            return self._encode_pair(context, answer)
        return [self.prefix_token_id], self.tok_encode(answer, add_special_tokens=False)

    def tok_batch_encode(
        self,
        strings: list[str],
        padding_side: str = "left",
        left_truncate_len: int | None = None,
        truncation: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What `generate_until` goes on from, (texts, tokens) padded, and where it is no padding."""
        if self.backend != "causal":
            return super().tok_batch_encode(strings, padding_side, left_truncate_len, truncation)
        return prompt_batch(self.tokenizer, strings, self.prefix_token_id, self._front, padding_side, left_truncate_len)

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[Answer]:
        if self.exact:
            encoded = self.token_requests(requests)
            check_ids(encoded, self.model)
            return check_finite(self._tokens_by_lm_eval(encoded, disable_tqdm=disable_tqdm), requests)
        answers = [answer for given in self.answers_by_task(requests, ahead=None) for answer in given]
        for request, answer in zip(requests, answers, strict=True):
            self.cache_hook.add_partial("loglikelihood", request.args, answer)
        return answers

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """As lm-eval's: the windows over all texts are scored in batches, in order."""
        if self.way.is_pseudo:
            raise InputError("pseudo-log-likelihood is of sentences and answers; whole texts are scored causally only")
        self._forget_weights()
        texts, start = [text for (text,) in (request.args for request in requests)], self.prefix_token_id
        is_causal = self.backend == "causal"
        all_ids = text_ids(self.tokenizer, texts, start) if is_causal else list(map(self.tok_encode, texts))
        windows = [window_requests(ids, start, self.max_length) for ids in all_ids]
        flat, at_once = [window for of_text in windows for window in of_text], self.batch_size
        batches = [flat[first : first + at_once] for first in range(0, len(flat), at_once)]
        scored = iter([answer for batch in batches for answer in self.answer_tokens(batch, disable_tqdm=disable_tqdm)])
        sums = [sum(next(scored)[0] for _ in of_text) for of_text in windows]
        for text, total in zip(texts, sums, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", (text,), total)
        return check_finite(sums, requests)

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        if not self.way.is_decoder:
            raise no_decoder(type(self.model).__name__, "generate_until")
        at_most = self._lengths.most_written_at_once()
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
        if ahead is not None and self.way != CAUSAL:
            ahead = 0  # these answers are there at once
        tasks = [list(group) for _, group in groupby(requests, key=lambda request: request.task_name)]
        waiting: list[Ready] = []
        num_all = dict.fromkeys((task[0].task_name for task in tasks), sum(map(len, tasks))) | dict(num_texts or {})
        # disable=None: shown on a terminal, absent from a log file
        with tqdm(
            total=sum(map(len, tasks)),
            desc="Scoring",
            unit="text",
            disable=None if self.progress and not is_quiet() else True,
        ) as bar:
            for task in tasks:
                waiting.append(self._ask(task, num_all[task[0].task_name]))
                bar.update(len(task))
                if ahead is not None and len(waiting) > ahead:
                    yield waiting.pop(0)()
            yield from (ready() for ready in waiting)

    def _ask(self, instances: list[Instance], num_texts: int) -> Ready:
        task = instances[0].task_name
        key = self._encoding_digest, digest(part for instance in instances for part in instance.args)
        encoded = keep(key, lambda: self._checked_requests(instances))
        self.num_cut[task] = sum(len(context) + len(rest) > self._longest for _, context, rest in encoded)
        check_ids(encoded, self.model)
        if self.way.scoring != "causal":
            hidden = check_finite(self._with_hidden_tokens(encoded, key), instances)
            return lambda: hidden
        if not self._suits_trees(encoded):
            answers = check_finite(self._tokens_by_lm_eval(encoded, disable_tqdm=True), instances)
            return lambda: answers
        if self.adaptive and are_sentence_pairs(instances):
            adapted = self.adapted[task] = self._scorer.adapt(encoded, key, num_texts)
            return lambda: check_finite(adapted.answers, instances)
        ready = self._scorer.start(encoded, key)
        return lambda: check_finite(ready(), instances)

    def answer_tokens(self, requests: list[TokenRequest], **options: Any) -> list[Answer]:
        """Answers to what comes as tokens.

        Args:
            options: for lm-eval's own code, where that scores.
        """
        check_ids(requests, self.model)
        if self.way.scoring != "causal":
            return self._with_hidden_tokens(requests)
        if not self._suits_trees(requests):
            return self._tokens_by_lm_eval(requests, **options)
        check_lengths(requests, self.max_length)
        return self._scorer.score(requests)

    def _with_hidden_tokens(self, requests: list[TokenRequest], key: tuple[Hashable, ...] = ()) -> list[Answer]:
        return self._hidden_tokens.score(requests, key, 1 if self._lengths.must_be_alone(requests) else None)

    @cached_property
    def _hidden_tokens(self) -> HiddenTokensScorer:
        return HiddenTokensScorer(self.model, self.tokenizer, self.way, self._longest, self._room)

    @property
    def _longest(self) -> int:
        """Tokens of a context and what is scored after it, together: a decoder does not read the last one, a masked model also
        what ends a text."""
        if not self.way.is_pseudo:
            return self.max_length + 1
        return self.max_length - (frame(self.tokenizer)[1] is not None)

    @cached_property
    def _scorer(self) -> TextScorer:
        return TextScorer(self.model, self.max_length, self._room)

    def _forget_weights(self) -> None:
        """The model may have been changed since its weights were copied and tried."""
        for name in ("_scorer", "_hidden_tokens"):
            self.__dict__.pop(name, None)

    def _suits_trees(self, requests: Sequence[TokenRequest]) -> bool:
        """Whether our own code scores these, and not lm-eval's."""
        is_possible = not self.exact and self.backend == "causal" and self._scorer.takes_trees
        return is_possible and not self._lengths.must_be_alone(requests)

    def _tokens_by_lm_eval(self, requests: list[TokenRequest], **options: Any) -> list[Answer]:
        at_most = 1 if self._lengths.must_be_alone(requests) else None
        return self._by_lm_eval(self._loglikelihood_tokens, requests, at_most, **options)

    def _by_lm_eval(self, ask: Callable[..., list], requests: list, at_most: int | None = None, **options: Any) -> list:
        def score(size: int) -> list:
            self.batch_size_per_gpu = size
            return ask(requests, **options)

        return self._room.with_room(score, at_most or (_LM_EVALS_AT_ONCE if self._room.is_automatic else None))

    def _checked_requests(self, instances: list[Instance]) -> list[TokenRequest]:
        requests = self.token_requests(instances)
        check_lengths(requests, self._longest - 1)
        return requests

    @cached_property
    def _encoding_digest(self) -> tuple:
        start = self.context_start, self.add_bos_token, self.prefix_token_id
        return tokenizer_digest(self.tokenizer), *start, self._longest


def _folder_of(pretrained: str, options: Mapping[str, Any]) -> Path:
    """Where a model that was just loaded lies: a folder, or the snapshot of a repository in the cache."""
    wanted = {name: options[name] for name in ("revision", "subfolder", "cache_dir") if options.get(name)}
    return Path(cached_file(pretrained, "config.json", local_files_only=True, **wanted)).parent
