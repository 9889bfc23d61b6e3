"""The Hugging Face Trainer with an objective's loss and a stateless order of sequences."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, PrinterCallback, ProgressCallback, TrainingArguments
from transformers.trainer_pt_utils import nested_gather

from lmeff.errors import InputError
from lmeff.formats.checkpoint import read_own_state
from lmeff.models.dropout import use_stateless_dropout
from lmeff.models.families import FAMILIES
from lmeff.models.trial import leaves_parameters_unused
from lmeff.objectives import LossPositions, Objective, objective_of
from lmeff.objectives.forward import compute_losses_in_forward
from lmeff.objectives.held_out import HeldOutLoss, HeldOutText, rows_of_rank
from lmeff.recipe.schema import Recipe
from lmeff.stateless import stateless_seed
from lmeff.tokens import DataOrder, PermutationOrder, Tokens
from lmeff.training.arguments import look_for_unused_parameters
from lmeff.training.callbacks.callback import RunCallback, in_order
from lmeff.training.data.loader import StepBatches, train_loader
from lmeff.training.data.sequences import MicroBatch, TrainSequences
from lmeff.training.engines.resumable import CONVERGENCE, ResumableTrainer
from lmeff.training.method import Method


class LmeffTrainer(ResumableTrainer):
    """Trains one recipe. Steps are counted in global batches; tokens are always derived from the step."""

    def __init__(
        self,
        model: PreTrainedModel,
        args: TrainingArguments,
        recipe: Recipe,
        tokens: Tokens,
        methods: Sequence[Method] = (),
        pinned: Callable[[], Collection[int]] = frozenset,
    ) -> None:
        """`pinned` gives the steps whose checkpoints are kept for branches."""
        self.methods, self._tokens = methods, tokens
        self.objective: Objective = objective_of(recipe, tokens)
        if recipe.anchors.mode == "restart":
            self.objective.end_at(args.max_steps)
        for method in methods:
            self.objective = method.wrap_objective(self.objective)
        is_tried = FAMILIES[recipe.model.family].is_tried
        self.leaves_parameters_unused = (
            leaves_parameters_unused(model) if is_tried else recipe.model.leaves_parameters_unused
        )
        """Whether a step may leave parameters without a gradient."""
        look_for_unused_parameters(args, recipe, self.leaves_parameters_unused)
        dataset = TrainSequences(tokens, recipe.batch, self.objective)
        super().__init__(model, args, recipe, dataset, tokens.fingerprint, pinned)
        self.order: DataOrder = PermutationOrder(len(dataset), recipe.seed, recipe.batch.clock)
        for method in methods:
            self.order = method.wrap_order(self.order)
        dataset.order = self.order
        self._sequences = dataset
        self.loss_positions = LossPositions(self.objective, tokens, recipe.batch, self.order)
        self._dropout = use_stateless_dropout(model, recipe.seed)
        # Liger's fused kernel makes the same loss without ever holding all logits, and is a part of the model.
        self._loss_is_fused = args.use_liger_kernel and self.objective.takes_fused_loss
        if not self._loss_is_fused:
            compute_losses_in_forward(model, self.objective)
        # The loss is divided by the positions of the global batch; the Trainer must not divide it again.
        self.model_accepts_loss_kwargs = True
        self.sequences_read: list[list[int]] = []
        """The ids of this process's sequences in the last step, by micro-batch."""
        self.grad_norm: Any = None
        """Of the last step, before clipping; None where DeepSpeed has none."""
        self._step_of_loss = -1
        self._losses: dict[str, torch.Tensor] = {}
        """This process's share of the step's losses by their names, times the number of processes."""
        self._losses_of_micro_batch: dict[str, torch.Tensor] = {}
        self._broken_step = torch.zeros((), dtype=torch.long, device=args.device)

    # ------------------------------------------------------------------ data

    def get_train_dataloader(self) -> DataLoader:
        arguments = self.args
        batches = StepBatches(
            order=self.order,
            stages=self.recipe.batch.length_stages(),
            micro_batch=arguments.per_device_train_batch_size,
            rank=arguments.process_index,
            world_size=arguments.world_size,
            num_steps=arguments.max_steps,
            first_step=lambda: self.state.global_step,
        )
        return train_loader(self._sequences, batches)

    def facts_of_methods(self, step: int) -> dict[str, Any]:
        """What methods computed beside training in the first `step` steps and what else there is to say of them, by the name in
        anchor.json."""
        return {
            name: value
            for method in self.methods
            for name, value in (*method.flops(step).items(), *method.facts(step).items())
        }

    def get_batch_samples(
        self, epoch_iterator: Iterator[dict[str, Any]], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Any]], torch.Tensor]:
        """This process's micro-batches of a step, and how many positions of the global batch have a loss, or what they weigh, a
        float32 scalar. Collective; every process is given the same number."""
        batches = list(islice(epoch_iterator, num_batches))
        num_labeled = self._over_batch([self.objective.num_labeled(batch["targets"]) for batch in batches], device)
        if self.objective.positions_are_drawn:
            self.loss_positions.count(num_labeled)
        weights = [self.objective.total_weight(batch["targets"]) for batch in batches]
        whole = [weight for weight in weights if weight is not None]
        return batches, (self._over_batch(whole, device) if whole else num_labeled).float()

    def _over_batch(self, of_micro_batches: list[torch.Tensor], device: torch.device) -> torch.Tensor:
        """The sum over the micro-batches of all processes. Collective; every process is given it."""
        total = torch.stack(of_micro_batches).sum()
        total = total.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else total.to(device)
        return self.accelerator.gather(total).sum() if self.args.world_size > 1 else total

    @property
    def positions_per_epoch(self) -> int:
        """Sequence positions of one pass over the training text, padding included."""
        return len(self._sequences) * self.recipe.batch.sequence_length

    def sequence_ids_of(self, step: int) -> list[int]:
        """What step `step` (from 1) reads."""
        return self.order.sequences(step - 1).tolist()

    # ------------------------------------------------------------------ checkpoints

    def use_callbacks(self, callbacks: Iterable[RunCallback]) -> None:
        """Has a run's callbacks asked in the order of their priorities, after the Trainer's own; its bars and prints go."""
        self.remove_callback(ProgressCallback)
        self.remove_callback(PrinterCallback)
        for callback in in_order(callbacks):
            self.add_callback(callback)

    @property
    def _run_callbacks(self) -> dict[str, RunCallback]:
        found = (callback for callback in self.callback_handler.callbacks if isinstance(callback, RunCallback))
        return {callback.name: callback for callback in found}

    def _own_state(self) -> dict[str, Any]:
        callbacks = {name: callback.state() for name, callback in self._run_callbacks.items()}
        converging = {CONVERGENCE: callbacks.pop(CONVERGENCE)} if CONVERGENCE in callbacks else {}
        states = {"objective": self.objective.state(), "order": self.order.state()}
        states |= {f"callback {name}": state for name, state in callbacks.items()}
        own = super()._own_state() | converging
        return own | {
            "num_loss_tokens": self.loss_positions.after(self.state.global_step),
            "order_fingerprint": self.order.fingerprint,
            "states": {name: state for name, state in states.items() if state},
        }

    def _load_states(self, saved: Mapping[str, dict[str, Any]]) -> None:
        """Raises ValueError where a checkpoint was written with other methods."""
        owners: dict[str, Any] = {"objective": self.objective, "order": self.order}
        owners |= {f"callback {name}": callback for name, callback in self._run_callbacks.items()}
        if unknown := saved.keys() - owners.keys():
            raise ValueError(f"it has the state of '{min(unknown)}', which this run does not have")
        for name, owner in owners.items():
            if state := saved.get(name):
                owner.load_state(state)

    def resume(self, checkpoint: Path) -> None:
        """Goes on from a complete checkpoint. Raises InputError for one of other learning methods."""
        saved = read_own_state(checkpoint)
        try:
            self._load_states(saved.get("states", {}))
            if converging := self._run_callbacks.get(CONVERGENCE):
                converging.load_state(saved[CONVERGENCE])
        except ValueError as error:
            raise InputError(
                f"{checkpoint}: {error}; go on with the learning method that it was written with"
            ) from None
        # Checkpoints of older versions do not have the number.
        if "num_loss_tokens" in saved:
            self.loss_positions.go_on_from(saved["step"], saved["num_loss_tokens"])
        super().resume(checkpoint)

    # ------------------------------------------------------------------ loss

    def training_step(
        self, model: torch.nn.Module, inputs: dict[str, Any], num_items_in_batch: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Forward and backward pass of a micro-batch. Returns its share of the loss that is logged, times the number of
        processes."""
        micro_batch: MicroBatch = inputs.pop("micro_batch")
        step = micro_batch.step
        if self._step_of_loss != step:
            self._step_loss.zero_()
            self.sequences_read, self._losses = [], {}
            self._step_of_loss = step
        self.sequences_read.append(list(micro_batch.sequence_ids))
        num_rows = len(inputs["input_ids"])
        first_row = micro_batch.first_slot * num_rows // len(micro_batch.sequence_ids)
        self._dropout.step, self._dropout.slots = step, range(first_row, first_row + num_rows)
        self._seed_random_numbers(stateless_seed(self.recipe.seed, step, micro_batch.first_slot))
        loss = super().training_step(model, inputs, num_items_in_batch)
        if "nats" in self._losses_of_micro_batch:
            loss = self._losses_of_micro_batch["nats"]
        for name, value in self._losses_of_micro_batch.items():
            self._losses[name] = self._losses.get(name, 0.0) + value
        self._step_loss += loss
        # A sum that the Trainer keeps for its log would stay NaN for ever.
        return torch.where(torch.isfinite(loss), loss, 0.0) if self.leaves_out_broken_steps else loss

    def _seed_random_numbers(self, seed: int) -> None:
        """Whatever draws random numbers in a micro-batch draws the same ones after a restart. `torch.manual_seed` does so for
        devices of every kind, and takes longer for those that are not there than a small model's layer takes."""
        torch.default_generator.manual_seed(seed)
        if self.args.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        elif self.args.device.type != "cpu":
            torch.manual_seed(seed)

    def _prepare_input(self, data: Any) -> Any:
        """On a GPU without waiting for it: the loader's memory is pinned, and the host goes on to the next step meanwhile."""
        if isinstance(data, torch.Tensor) and self.args.device.type == "cuda":
            data = data.to(self.args.device, non_blocking=True)
        return super()._prepare_input(data)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: Mapping[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The objective's loss of a micro-batch, times the number of processes: engines average gradients over them."""
        if self._loss_is_fused:
            of_model = {name: value for name, value in inputs.items() if name != "targets"}
            losses = {"loss": model(**of_model, **inputs["targets"], num_items_in_batch=num_items_in_batch).loss}
        else:
            with torch.no_grad():
                inputs = self.objective.prepare(dict(inputs))
            losses = model(**inputs, num_labeled=num_items_in_batch)
        losses = {name: value * self.accelerator.num_processes for name, value in losses.items()}
        self._losses_of_micro_batch = {name: value.detach() for name, value in losses.items()}
        return losses["loss"]

    def step_losses(self) -> dict[str, float]:
        """The objective's losses in the last step over the global batch, by their names. Collective; every process is given
        them."""
        gathered = {name: nested_gather(value, self.args.parallel_mode) for name, value in self._losses.items()}
        return {name: value.mean().item() for name, value in gathered.items()}

    def share_of_step(self, name: str) -> torch.Tensor:
        """This process's share of one of the last step's losses, on its device, for `over_processes`."""
        return self._losses[name]

    def over_processes(self, shares: torch.Tensor) -> list[float]:
        """What such shares of several steps, (steps), are over the global batch. Collective; every process is given the
        same."""
        gathered: torch.Tensor = nested_gather(shares, self.args.parallel_mode)
        means: list[float] = gathered.view(-1, len(shares)).mean(0).tolist()
        return means

    def _get_grad_norm(self, model: torch.nn.Module, grad_norm: Any = None) -> Any:
        self.grad_norm = norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        # DeepSpeed has no norm for a step that loss scaling dropped.
        broken = ~torch.isfinite(torch.as_tensor(0.0 if norm is None else norm, device=self._step_loss.device))
        if self.leaves_out_broken_steps:
            # All processes see the same gradient, and leave out the same steps.
            self._broken_step.copy_(torch.where(broken, self.state.global_step + 1, 0))
        else:
            if self.args.fp16:  # loss scaling overflows now and then, and leaves the step out itself
                broken.zero_()
            broken |= ~torch.isfinite(self._step_loss)
            first = (self._broken_step == 0) & broken
            self._broken_step.copy_(torch.where(first, self.state.global_step + 1, self._broken_step))
        return norm

    def first_broken_step(self) -> int | None:
        """The first step whose loss or gradient was not finite, as this process knows it; when such steps are left out, the
        present one only."""
        return int(self._broken_step.item()) or None

    def present_step_was_left_out(self) -> bool:
        return self.accelerator.optimizer_step_was_skipped or (
            self.leaves_out_broken_steps and self.first_broken_step() == self.state.global_step
        )

    @cached_property
    def held_out_text(self) -> HeldOutText:
        """The same at every anchor."""
        return self.objective.held_out_text(self._tokens, self.recipe.evaluation.dev_tokens, self.recipe.batch)

    @property
    def dev_tokens(self) -> int:
        """About how many tokens of held-out text that is."""
        return min(self.recipe.evaluation.dev_tokens, int(self._tokens.dev_documents[:, 0].sum()))

    def held_out_loss(self) -> HeldOutLoss:
        """Held-out loss of the model as it is now. Collective; the result is on every process."""
        model, arguments, text = self.model_wrapped, self.args, self.held_out_text
        rows = rows_of_rank(len(text.windows), arguments.process_index, arguments.world_size)
        model.eval()
        sums = self.objective.held_out_sums(model, text, rows, arguments.per_device_train_batch_size, arguments.device)
        model.train()
        if dist.is_initialized():
            dist.all_reduce(sums)
        return self.objective.held_out_loss(sums, text)
