"""The Hugging Face Trainer with a stateless sample order, a held-out loss, whole-model weights and atomic checkpoints."""

import math
import os
import shutil
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, Trainer, TrainingArguments
from transformers.trainer_pt_utils import nested_gather

from lmeff.errors import InputError, RunFailed
from lmeff.files import read_json, write_json
from lmeff.recipe.schema import Recipe
from lmeff.tokens import SampleOrder, Tokens
from lmeff.training.checkpoints import checkpoint_path, rotate, seal
from lmeff.training.dev import DevLoss, dev_text, negative_log_likelihood, rows_of_rank, summarize
from lmeff.training.engine import engine_name
from lmeff.training.loader import PackedSequences, StepBatches, train_loader

_OWN_STATE = "lmeff.json"


class LmeffTrainer(Trainer):
    """Trains one recipe. Steps are counted in global batches; tokens are always derived from the step."""

    def __init__(self, model: PreTrainedModel, args: TrainingArguments, recipe: Recipe, tokens: Tokens) -> None:
        super().__init__(model=model, args=args, train_dataset=PackedSequences(tokens, recipe.batch.sequence_length))
        self.recipe = recipe
        self.dev_text = dev_text(tokens, recipe.evaluation.dev_tokens, recipe.batch.sequence_length)
        self._order = SampleOrder(len(self.train_dataset), recipe.seed)
        self.num_skipped_steps = 0
        """Steps whose update float16 loss scaling dropped."""
        self._fingerprint = tokens.fingerprint
        self._seconds = 0.0
        self._running_since: float | None = None
        self._step_loss = torch.zeros((), device=args.device)
        self._step_of_loss = 0

    # ------------------------------------------------------------------ data

    def get_train_dataloader(self) -> DataLoader:
        arguments = self.args
        batches = StepBatches(
            order=self._order,
            sequences_per_step=self.recipe.batch.tokens // self.recipe.batch.sequence_length,
            micro_batch=arguments.per_device_train_batch_size,
            rank=arguments.process_index,
            world_size=arguments.world_size,
            num_steps=arguments.max_steps,
            first_step=lambda: self.state.global_step,
        )
        return train_loader(self.train_dataset, batches)

    # ------------------------------------------------------------------ loss

    def training_step(
        self, model: torch.nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> torch.Tensor:
        if self._step_of_loss != self.state.global_step:
            self._step_loss.zero_()
            self._step_of_loss = self.state.global_step
        loss = super().training_step(model, inputs, num_items_in_batch)
        self._step_loss += loss
        return loss

    def step_loss(self) -> float | None:
        """Training loss of the last step over the global batch, nats per token; None before the first. Collective."""
        if self.state.global_step == 0:
            return None
        return nested_gather(self._step_loss, self.args.parallel_mode).mean().item()

    def dev_loss(self) -> DevLoss:
        """Held-out loss of the model as it is now. Collective."""
        model, arguments = self.model_wrapped, self.args
        rows = rows_of_rank(len(self.dev_text.windows), arguments.process_index, arguments.world_size)
        model.eval()
        total = negative_log_likelihood(
            model, self.dev_text, rows, arguments.per_device_train_batch_size, arguments.device
        )
        model.train()
        if dist.is_initialized():
            dist.all_reduce(total)
        return summarize(total, self.dev_text)

    # ------------------------------------------------------------------ time

    @property
    def train_seconds(self) -> float:
        """Wall seconds spent training, over all restarts, without saving and evaluating."""
        return self._seconds + (time.monotonic() - self._running_since if self._running_since is not None else 0.0)

    def start_clock(self) -> None:
        self._running_since = time.monotonic()

    @contextmanager
    def clock_stopped(self):
        """For what is not training: saving, evaluating."""
        running = self._running_since is not None
        self._seconds, self._running_since = self.train_seconds, None
        yield
        if running:
            self.start_clock()

    # ------------------------------------------------------------------ weights

    def weights_writer(self) -> Callable[[Path], None]:
        """Gathers the weights in float32 (collective), and returns what writes model.safetensors and config.json with them."""
        state = self._whole_state()
        if unknown := set(state) - set(self.model.state_dict()):
            raise RuntimeError(f"gathered weights have names that the model does not have, such as {min(unknown)}")

        def write(folder: Path) -> None:
            weights = {name: tensor.detach().float().cpu() for name, tensor in state.items()}
            self.model.save_pretrained(folder, state_dict=weights, max_shard_size="1TB")
            # A model that trains in bfloat16 would say so here, and be loaded in it.
            write_json(folder / "config.json", read_json(folder / "config.json") | {"dtype": "float32"})

        return write

    def _whole_state(self) -> dict[str, torch.Tensor]:
        if not self.is_deepspeed_enabled:
            return self.model.state_dict()
        if next(self.model.parameters()).dtype == torch.float32:
            # Under ZeRO-3 only the first process is given them.
            return self.accelerator.get_state_dict(self.model_wrapped) or {}
        from deepspeed.utils import safe_get_full_fp32_param

        return {name: safe_get_full_fp32_param(parameter) for name, parameter in self.model.named_parameters()}

    # ------------------------------------------------------------------ checkpoints

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        if not math.isfinite(loss := self.step_loss() or 0.0):
            raise RunFailed(f"the loss is {loss} at step {self.state.global_step}; no checkpoint is made of it")
        with self.clock_stopped():
            run = Path(self.args.output_dir)
            target = checkpoint_path(run, self.state.global_step)
            aside = target.with_name(f".{target.name}.tmp")
            self._aside = aside
            try:
                # Trainer writes `checkpoint-N` into the folder `_get_output_dir` names.
                super()._save_checkpoint(model, trial)
            finally:
                del self._aside
            self._barrier()
            if self.args.process_index == 0:
                written = aside / f"checkpoint-{self.state.global_step}"
                write_json(written / _OWN_STATE, self._own_state())
                seal(written)
                if target.exists():
                    # Only a damaged checkpoint is passed over and reached again.
                    shutil.rmtree(target)
                os.rename(written, target)
                rotate(run, self.recipe.checkpoints.keep, self.state.global_step)
            self._barrier()

    def _get_output_dir(self, trial: Any) -> str:
        return str(getattr(self, "_aside", self.args.output_dir))

    def _own_state(self) -> dict[str, Any]:
        return {
            "format": 1,
            "engine": engine_name(self.accelerator),
            "world_size": self.args.world_size,
            "micro_batch": self.args.per_device_train_batch_size,
            "tokens_fingerprint": self._fingerprint,
            "num_skipped_steps": self.num_skipped_steps,
            "train_seconds": self.train_seconds,
        }

    def resume(self, checkpoint: Path) -> None:
        """Goes on from a complete checkpoint of the same engine and world size. Raises InputError when it is of another."""
        saved, own = read_own_state(checkpoint), self._own_state()
        for key, name in (
            ("engine", "engine"),
            ("world_size", "number of processes"),
            ("tokens_fingerprint", "training text"),
        ):
            if saved[key] != own[key]:
                raise InputError(
                    f"{checkpoint}: was written with another {name} ({saved[key]}, now {own[key]}); use the same"
                )
        self._seconds, self.num_skipped_steps = saved["train_seconds"], saved["num_skipped_steps"]
        self.train(resume_from_checkpoint=str(checkpoint))

    def _barrier(self) -> None:
        if dist.is_initialized():
            dist.barrier()


def read_own_state(checkpoint: Path) -> dict[str, Any]:
    """What a checkpoint says about the run that wrote it."""
    return read_json(checkpoint / _OWN_STATE)
