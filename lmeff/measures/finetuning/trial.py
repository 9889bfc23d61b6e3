"""One trial: a model, a task, a learning rate and a seed, trained with the Hugging Face Trainer."""

import gc
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    EvalPrediction,
    PreTrainedModel,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from transformers.modeling_layers import GenericForSequenceClassification
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
from transformers.trainer_callback import PrinterCallback
from transformers.utils import logging as transformers_logging

from lmeff.library_internals import use_one_gpu
from lmeff.measures.finetuning.data import Example, TaskExamples
from lmeff.measures.finetuning.encoding import (
    Collator,
    Encoded,
    Frame,
    choose_pad_id,
    encode,
    give_pad_token,
)
from lmeff.measures.finetuning.metrics import predictions, score
from lmeff.measures.finetuning.pooling import find_pooling
from lmeff.measures.finetuning.tasks import Task
from lmeff.models.context_length import context_length
from lmeff.models.device import choose_device, device_name
from lmeff.models.loading import (
    check_can_classify,
    check_token,
    check_tokenizer,
    has_classifier,
    load_config,
    load_tokenizer,
    load_with_new_head,
)
from lmeff.recipe.sections.finetune import FinetuneSettings
from lmeff.tokens.tokenizer.document_ids import beginning_and_end

_EVAL_BATCH = 64


class Diverged(Exception):
    """The model's answers are not finite."""


@dataclass(frozen=True)
class Trial:
    """What one trial found."""

    learning_rate: float
    seed: int
    dev: list[dict[str, float]]
    """The scores on the dev split after each epoch; fewer than `epochs` when the trial diverged."""
    best_epoch: int | None
    """From 1; None when the trial diverged."""
    outputs: dict[str, list[list[float]]] | None
    """What the model of the best epoch says of each validation split: (examples, labels). Not compared with labels here."""
    device: str
    """`cpu`, or the GPU's name."""
    classifier: dict[str, Any] | None = None
    """Its head, what that goes by and the side of padding; None in a journal of a version that did not say."""


@dataclass(frozen=True)
class EncodedTask:
    """A task as a model reads it."""

    data: TaskExamples
    train: list[Encoded]
    dev: list[Encoded]
    validation: dict[str, list[Encoded]]
    max_length: int
    pad_id: int


def run_trial(
    model_folder: Path, encoded: EncodedTask, settings: FinetuneSettings, learning_rate: float, seed: int
) -> Trial:
    """Trains a fresh copy of the model and returns what it says of the validation splits after its best epoch.

    `seed` decides the head's initial weights, the order of the examples and dropout: on a CPU the same call gives the
    same trial, bit for bit. Leaves nothing on the disk.
    """
    gc.collect()  # an earlier trial's Trainer: it holds itself and, after an error, everything on the GPU
    task, dev = encoded.data.task, encoded.data.dev
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        set_seed(seed)
        classifier = find_pooling(load_classifier(model_folder, encoded.data, encoded.pad_id), encoded.pad_id)
        model, about = classifier.module, classifier.describe()
        best = _BestEpoch(settings.best_by or "score", model)
        trainer = Trainer(
            model=model,
            args=_arguments(folder, settings, learning_rate, seed, len(encoded.train)),
            train_dataset=encoded.train,
            eval_dataset=encoded.dev,
            data_collator=Collator(encoded.pad_id, classifier.side),
            compute_metrics=lambda answers: _finite_scores(task, answers, dev),
            compute_loss_func=_loss,
            callbacks=[best],
        )
        trainer.remove_callback(PrinterCallback)
        device = device_name(trainer.args.device)
        try:
            trainer.train()
            model.load_state_dict(best.weights)
            trainer.compute_metrics = None  # the labels of the validation splits are not looked at
            outputs = {
                split: trainer.predict(examples).predictions.tolist() for split, examples in encoded.validation.items()
            }
            if not all(np.isfinite(values).all() for values in outputs.values()):
                raise Diverged
        except Diverged:
            return Trial(learning_rate, seed, best.history, None, None, device, about)
    return Trial(learning_rate, seed, best.history, best.epoch, outputs, device, about)


def load_classifier(folder: Path, data: TaskExamples, pad_id: int) -> PreTrainedModel:
    """The model of a folder with a new head, in float32, or without one where transformers has none for its kind
    (`find_pooling` adds it). Safetensors only, no code from the folder is run.

    Raises InputError for a model that is no classifier's body, and for weights that are not those of the configuration.
    """
    kind = {"num_labels": 1, "problem_type": "regression"}
    if data.labels is not None:
        names = dict(enumerate(data.labels))
        kind = {"id2label": names, "label2id": {name: number for number, name in names.items()}}
    config = load_config(folder, **kind)
    config.use_cache = False
    model = load_with_new_head(folder, config)
    give_pad_token(model, pad_id)
    return model


def longest(model_folder: Path, settings: FinetuneSettings) -> int:
    """Tokens that an example may have: `max_length`, or what the model takes if that is less."""
    return min(settings.max_length, context_length(load_config(model_folder)) or settings.max_length)


def check_model(folder: Path) -> str | None:
    """What a user should know of a model. Raises InputError for what can be seen, before any example is encoded, to be no model
    that can be fine-tuned."""
    check_can_classify(folder)
    tokenizer = load_tokenizer(folder)
    check_tokenizer(tokenizer, load_config(folder).get_text_config().vocab_size)
    frame = Frame.of(tokenizer, load_config(folder))
    if not (frame.begin or frame.end or frame.whole):
        beginning_and_end(tokenizer)
    return None if frame.begin or frame.whole else "its tokenizer has no BOS token; examples begin with their text"


def may_pool_elsewhere(folder: Path) -> bool:
    """Whether the classifier of a model may go by another token than the last, or be padded on the left."""
    config = load_config(folder)
    if not has_classifier(config):
        return False
    return not issubclass(MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(config)], GenericForSequenceClassification)


def has_dropout(model_folder: Path) -> bool:
    """Whether the configuration of a model says that any dropout is above 0."""
    config = load_config(model_folder).to_dict()
    return any("drop" in name and isinstance(value, int | float) and value > 0 for name, value in config.items())


def encode_task(model_folder: Path, data: TaskExamples, settings: FinetuneSettings) -> EncodedTask:
    """Encodes all examples for the model of a folder; `max_length` is at most what the model takes."""
    config, tokenizer = load_config(model_folder), load_tokenizer(model_folder)
    frame, max_length = Frame.of(tokenizer, config), longest(model_folder, settings)
    train, dev = (encode(examples, tokenizer, frame, max_length) for examples in (data.train, data.dev))
    validation = {split: encode(examples, tokenizer, frame, max_length) for split, examples in data.validation.items()}
    num_embeddings = config.get_text_config().vocab_size
    examples = [*train, *dev, *chain(*validation.values())]
    check_token(max(max(one["input_ids"]) for one in examples), num_embeddings)
    pad_id = choose_pad_id(tokenizer, examples, num_embeddings)
    return EncodedTask(data, train, dev, validation, max_length, pad_id)


def _arguments(
    folder: str, settings: FinetuneSettings, learning_rate: float, seed: int, num_examples: int
) -> TrainingArguments:
    micro = micro_batch_size(settings)
    num_steps = math.ceil(num_examples / settings.batch_size) * settings.epochs
    schedule = {"linear": "linear", "cosine": "cosine_with_min_lr", "constant": "constant_with_warmup"}
    has_gpu = _has_gpu()
    arguments = TrainingArguments(
        output_dir=folder,
        seed=seed,
        learning_rate=learning_rate,
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=settings.batch_size // micro,
        per_device_eval_batch_size=_EVAL_BATCH,
        lr_scheduler_type=schedule[settings.schedule],
        lr_scheduler_kwargs={"min_lr_rate": settings.final_rate} if settings.schedule == "cosine" else {},
        warmup_steps=round(settings.warmup * num_steps),
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        eval_strategy="epoch",
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=has_gpu,
        remove_unused_columns=False,
        use_cpu=not has_gpu,
        bf16=device_precision(settings) == "bfloat16",
    )
    assert arguments.device  # settles how many GPUs there are; one is used, since several would multiply the batch
    use_one_gpu(arguments)
    arguments.mixed_precision = "bf16" if arguments.bf16 else "no"  # not what a shell's ACCELERATE_MIXED_PRECISION says
    return arguments


def micro_batch_size(settings: FinetuneSettings) -> int:
    """Examples that go through the model at once: what is asked for, or the next smaller number that divides the batch."""
    most = min(settings.micro_batch_size, settings.batch_size)
    return next(size for size in range(most, 0, -1) if not settings.batch_size % size)


def device_precision(settings: FinetuneSettings) -> str:
    """`bfloat16` (autocast) or `float32`."""
    return "bfloat16" if settings.precision == "auto" and _gpu_has_bfloat16() else "float32"


def _gpu_has_bfloat16() -> bool:
    return _has_gpu() and torch.cuda.is_bf16_supported(including_emulation=False)


def _has_gpu() -> bool:
    return choose_device().type == "cuda"


def _loss(
    outputs: SequenceClassifierOutput, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
) -> torch.Tensor:
    """Mean over the examples of a step, however many micro-batches it has: cross-entropy, or squared error for numbers."""
    logits = outputs.logits.float()
    if labels.is_floating_point():
        total = torch.nn.functional.mse_loss(logits[:, 0], labels.float(), reduction="sum")
    else:
        total = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
    return total / (len(labels) if num_items_in_batch is None else num_items_in_batch)


def _finite_scores(task: Task, answers: EvalPrediction, examples: tuple[Example, ...]) -> dict[str, float]:
    if not np.isfinite(answers.predictions).all():
        raise Diverged
    return score(task, predictions(task, answers.predictions), examples)


class _BestEpoch(TrainerCallback):
    """Keeps the weights of the epoch with the best score on the dev split; of equal ones the first."""

    def __init__(self, metric: str, model: torch.nn.Module) -> None:
        self._metric, self._model = metric, model
        self.history: list[dict[str, float]] = []
        self.epoch: int | None = None
        self.weights: dict[str, torch.Tensor] = {}

    def on_evaluate(self, args, state, control, metrics: dict[str, float], **_: object) -> None:
        measured = ("eval_loss", "eval_runtime", "eval_samples_per_second", "eval_steps_per_second", "epoch")
        names = [name for name in metrics if name.startswith("eval_") and name not in measured]
        self.history.append({name.removeprefix("eval_"): metrics[name] for name in names})
        best = self.history[(self.epoch or 1) - 1][self._metric]
        if self.epoch is None or self.history[-1][self._metric] > best:
            self.epoch = len(self.history)
            self.weights = {name: value.detach().cpu().clone() for name, value in self._model.state_dict().items()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' word that the head is new, which it is meant to be, and without its bars."""
    verbosity, has_bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if has_bars:
            transformers_logging.enable_progress_bar()
