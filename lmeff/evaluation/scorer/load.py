"""The model of a folder, ready for lm-eval, and its answers to one task after another."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from lm_eval.api.instance import Instance

from lmeff.evaluation.scorer.answer_tokens import ContextStart
from lmeff.evaluation.scorer.language_model import LmeffLM
from lmeff.library_internals import models_loaded_whole
from lmeff.models.device import choose_device
from lmeff.models.loading import check_tokenizer, load_language_model, load_tokenizer
from lmeff.recipe.sections.evaluation import Scoring

_CHOSEN = "loglikelihood"


def load_model(
    folder: Path,
    device: str | None,
    *,
    batch_size: int | str = "auto",
    progress: bool,
    exact: bool = False,
    precision: Literal["float32", "adaptive"] = "float32",
    context_start: ContextStart = "bos",
    scoring: Scoring = "auto",
) -> LmeffLM:
    """The model of a folder in float32, ready for lm-eval. Raises InputError as `load_language_model` does, and where
    the model cannot be scored as asked.

    The model object is made here, so that lm-eval's `HFLM` takes this process for the only one and does not divide the
    work among the ranks of a process group itself.
    """
    with models_loaded_whole():
        model = load_language_model(folder)
    model.config.use_cache = False  # scoring is one forward pass; keys and values would be kept for nothing
    tokenizer = load_tokenizer(folder)
    check_tokenizer(tokenizer, model.get_input_embeddings().num_embeddings)
    wrapped = LmeffLM(
        model.to(choose_device(device)),
        tokenizer=tokenizer,
        batch_size=batch_size,
        exact=exact,
        precision=precision,
        context_start=context_start,
        scoring=scoring,
    )
    wrapped.prefix_token_id  # noqa: B018 - raises where nothing can begin a text
    wrapped.progress = progress
    return wrapped


def answer_tasks(
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
        repeated = {kind: [one for one in given for _ in range(one.repeats)] for kind, given in asked.items()}
        yield name, {kind: getattr(model, kind)(given) for kind, given in repeated.items()}
