"""Checkpoints and weights that are the same for every engine, and the optimizer, the clock and the counters that go on."""

import math
import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, Dataset
from transformers import PreTrainedModel, Trainer, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_pt_utils import nested_gather

from lmeff.files import new_folder
from lmeff.formats.checkpoint import read_own_state, write_own_state
from lmeff.formats.run_folder import RunFolder
from lmeff.library_internals import last_logged_step, loss_sum, set_last_logged_step, set_learning_rates
from lmeff.models.writing import digest_of, write_model
from lmeff.recipe.schema import Recipe
from lmeff.training.checkpoints import rotate, seal
from lmeff.training.engines.engine import (
    cublas_as_prepared,
    engine_name,
    keep_float32_whole,
    loss_scale,
    run_on_rank_zero,
    set_loss_scale,
)
from lmeff.training.engines.full_state import FullState, PlainEngine, ZeroEngine, engine_state, weights_of
from lmeff.training.optimizers import (
    MuonWithAdamW,
    build_optimizer,
    counters,
    decayed_names,
    set_counters,
    weights_to_keep,
)

CONVERGENCE = "convergence"
"""The name of the callback whose state stands beside those of the others: every checkpoint of every version has it."""


class ResumableTrainer(Trainer):
    """A Trainer whose state is written by parameter name, and read by any engine and number of processes."""

    model: PreTrainedModel

    def __init__(
        self,
        model: PreTrainedModel,
        args: TrainingArguments,
        recipe: Recipe,
        train_dataset: Dataset,
        tokens_fingerprint: str,
        pinned: Callable[[], Collection[int]],
    ) -> None:
        """`pinned` gives the steps whose checkpoints are kept for branches."""
        with cublas_as_prepared():
            super().__init__(model=model, args=args, train_dataset=train_dataset)
        keep_float32_whole(args)
        self.recipe = recipe
        self.num_skipped_steps = 0
        """Steps whose update was left out: float16 loss scaling dropped it, or it was not finite."""
        self.num_skipped_before_log = 0
        """Of these, those before the sum for the next log began."""
        self._fingerprint = tokens_fingerprint
        self._pinned = pinned
        self._saved_window: dict[str, Any] | None = None
        self._seconds = 0.0
        self._running_since: float | None = None
        self._step_loss = torch.zeros((), device=args.device)

    @property
    def leaves_out_broken_steps(self) -> bool:
        return self.recipe.optimizer.nonfinite == "skip"

    def step_loss(self) -> float | None:
        """Training loss of the last step over the global batch, nats per position with a loss; None before the first, and for a
        step that was left out. Collective; every process is given the same."""
        if self.state.global_step == 0:
            return None
        loss = nested_gather(self._step_loss, self.args.parallel_mode).mean().item()
        return None if self.leaves_out_broken_steps and not math.isfinite(loss) else loss

    # ------------------------------------------------------------------ time

    @property
    def train_seconds(self) -> float:
        """Wall seconds spent training, over all restarts, without saving and evaluating."""
        return self._seconds + (time.monotonic() - self._running_since if self._running_since is not None else 0.0)

    def start_timer(self) -> None:
        self._running_since = time.monotonic()

    @contextmanager
    def timer_stopped(self):
        """For what is not training: saving, evaluating."""
        running = self._running_since is not None
        self._seconds, self._running_since = self.train_seconds, None
        yield
        if running:
            self.start_timer()

    # ------------------------------------------------------------------ checkpoints

    def _engine_state(self):
        return engine_state(self.model, self.model_wrapped, self.optimizer)

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """Collective: the first process writes, and the others wait until it has."""
        with self.timer_stopped():
            full = self._engine_state().gather(keep=self.args.process_index == 0)
            about_losses = {"step_loss": self.step_loss(), "log_window": self._log_window()}
            if self.args.process_index == 0:
                run, step = RunFolder(Path(self.args.output_dir)), self.state.global_step
                with new_folder(run.checkpoint(step)) as folder:
                    full.save(folder)
                    replace(self.state, log_history=[]).save_to_json(str(folder / TRAINER_STATE_NAME))
                    write_own_state(folder, self._own_state() | about_losses)
                    seal(folder)
                rotate(run, self.recipe.checkpoints.keep, step, self._pinned())
            self._barrier()

    def optimizer_writer(self) -> Callable[[Path], None]:
        """Gathers the optimizer's state, and returns what writes optimizer.safetensors with it. Collective; only the first
        process has the state, and may write."""
        return self._engine_state().gather(keep=self.args.process_index == 0).save_optimizer

    def _log_window(self) -> dict[str, Any]:
        """What the Trainer has summed up for its next log and saves nowhere. Collective; every process is given the
        same."""
        sums = nested_gather(loss_sum(self), self.args.parallel_mode).reshape(-1).tolist()
        skipped = self.num_skipped_before_log
        return {"after_step": self.last_logged_step, "loss_sums": sums, "num_skipped_steps": skipped}

    def restore_log_window(self) -> None:
        """Goes on with the sum of a checkpoint, so that the next log is a mean over the steps that it always was."""
        self.num_skipped_before_log = (self._saved_window or {}).get("num_skipped_steps", self.num_skipped_steps)
        if self._saved_window is None:
            return
        sums = self._saved_window["loss_sums"]
        same = len(sums) == self.args.world_size
        loss_sum(self).fill_(sums[self.args.process_index] if same else sum(sums) / len(sums))
        set_last_logged_step(self, self._saved_window["after_step"])

    @property
    def last_logged_step(self) -> int:
        """The step after which the present sum of losses began; the next log is the mean over the steps since."""
        return last_logged_step(self)

    def _own_state(self) -> dict[str, Any]:
        return {
            "format": 1,
            "step": self.state.global_step,
            "engine": engine_name(self.accelerator),
            "world_size": self.args.world_size,
            "micro_batch": self.args.per_device_train_batch_size,
            "tokens_fingerprint": self._fingerprint,
            "num_skipped_steps": self.num_skipped_steps,
            "train_seconds": self.train_seconds,
            CONVERGENCE: {"best": None, "looks_without_improvement": 0},
            "optimizer_counters": counters(self._own_optimizer),
            "loss_scale": loss_scale(self.accelerator, self.model_wrapped),
        }

    def resume(self, checkpoint: Path) -> None:
        """Goes on from a complete checkpoint of any engine and number of processes."""
        saved = read_own_state(checkpoint)
        self._seconds, self.num_skipped_steps = saved["train_seconds"], saved["num_skipped_steps"]
        self._saved_window = saved.get("log_window")
        self._step_loss.fill_(saved["step_loss"] if saved["step_loss"] is not None else math.nan)
        self.train(resume_from_checkpoint=str(checkpoint))

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        if self.optimizer is None:
            self.optimizer = build_optimizer(
                self.recipe.optimizer,
                self.model,
                decayed_names(self.model),
                # Under loss scaling a fused step leaves itself out, and nobody could count it.
                fused=self.args.device.type != "cpu" and not self.args.fp16,
                zero=self.is_deepspeed_enabled,
            )
        return self.optimizer

    @property
    def _own_optimizer(self) -> torch.optim.Optimizer:
        return getattr(self.optimizer, "optimizer", self.optimizer)

    def weights_to_keep(self) -> AbstractContextManager[None]:
        """Inside, the model has the weights that are its result at this point."""
        if self.state.global_step == 0:
            return nullcontext()
        return weights_to_keep(self._own_optimizer, self.model)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Nothing yet: `_prepare_for_training` loads everything."""

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """Nothing: every random number follows from seed, step and slot."""

    def _prepare_for_training(
        self, max_steps: int, train_dataloader: DataLoader, resume_from_checkpoint: str | None
    ) -> Any:
        full = FullState.load(Path(resume_from_checkpoint)) if resume_from_checkpoint else None
        if full:
            PlainEngine(self.model, None).put_weights(full.weights)
        weights = weights_of(self.model)
        prepared = super()._prepare_for_training(max_steps, train_dataloader, None)
        engine = self._engine_state()
        if isinstance(engine, ZeroEngine) and isinstance(engine.optimizer, MuonWithAdamW):
            engine.optimizer.division = engine
        if self.leaves_out_broken_steps and self.is_deepspeed_enabled:
            self.model_wrapped.optimizer.check_grad_overflow = True
        if next(self.model.parameters()).dtype != torch.float32:
            # DeepSpeed rounds a 16-bit model before it copies the float32 master weights from it.
            engine.put_weights(weights)
        if full:
            saved = read_own_state(Path(resume_from_checkpoint))
            engine.put_optimizer(full)
            set_counters(self._own_optimizer, saved["optimizer_counters"])
            set_loss_scale(self.accelerator, self.model_wrapped, saved)
        return prepared

    def seek_learning_rate(self) -> None:
        """Sets the rate of the coming step, which follows from the step alone, whatever was skipped before it."""
        schedule, step = self.lr_scheduler, self.state.global_step
        rates = [base * of(step) for base, of in zip(schedule.base_lrs, schedule.lr_lambdas, strict=True)]
        set_learning_rates(schedule, step, rates)

    def _barrier(self) -> None:
        if dist.is_initialized():
            dist.barrier()

    # ------------------------------------------------------------------ weights

    def weights_writer(self) -> Callable[[Path], None]:
        """Gathers the weights in float32, and returns what writes model.safetensors and config.json with them. Collective; the
        first process has the weights and may write."""
        state = self._whole_state()
        if unknown := set(state) - set(self.model.state_dict()):
            raise RuntimeError(f"gathered weights have names that the model does not have, such as {min(unknown)}")

        def write(folder: Path) -> None:
            write_model(self.model, state, folder)

        return write

    def weights_digest(self) -> str:
        """A hash of the weights as they are now. Collective; every process is given it."""
        state = self._whole_state()
        return run_on_rank_zero(lambda: digest_of(state))

    def _whole_state(self) -> dict[str, torch.Tensor]:
        """The weights by name. Collective; every process has them, but under ZeRO-3 in float32 only the first."""
        if not self.is_deepspeed_enabled:
            return self.model.state_dict()
        if next(self.model.parameters()).dtype == torch.float32:
            # Under ZeRO-3 only the first process is given them.
            return self._with_ties(self.accelerator.get_state_dict(self.model_wrapped) or {})
        from deepspeed.utils import safe_get_full_fp32_param

        return {name: safe_get_full_fp32_param(parameter) for name, parameter in self.model.named_parameters()}

    def _with_ties(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Under ZeRO-1 and 2 every name has a copy of its own: a file would hold an embedding that is the head, too, twice."""
        copies: dict[torch.nn.Parameter, torch.Tensor] = {}
        named = self.model.named_parameters(remove_duplicate=False)
        return state | {name: copies.setdefault(weight, state[name]) for name, weight in named if name in state}
