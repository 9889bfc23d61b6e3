"""Which sequences each step read, written down by those who read them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch.distributed as dist
from transformers import TrainerControl, TrainerState, TrainingArguments

from lmeff.formats.run_log import forget_after
from lmeff.training.callbacks.callback import Priority, RunCallback
from lmeff.training.trainer import LmeffTrainer


@dataclass
class SampleLogCallback(RunCallback):
    """Appends `{"step", "sequence_ids"}` to `samples.jsonl`: the ids that went into the model, in their place in the global
    batch. An id counts the full blocks of the training tokens, or the sequences of `batch.packing: best_fit`."""

    priority: ClassVar[Priority] = Priority.LOG_SAMPLES
    name: ClassVar[str] = "samples"

    path: Path
    trainer: LmeffTrainer

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.is_world_process_zero:
            forget_after(self.path, state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Collective: the first process is given what all have read."""
        read = self.trainer.sequences_read
        everyone = [read]
        if dist.is_initialized():
            everyone = [[] for _ in range(args.world_size)]
            dist.all_gather_object(everyone, read)
        if state.is_world_process_zero:
            # Micro-batch by micro-batch, and in each by rank: the order in which the batch was divided.
            ids = [one for turn in zip(*everyone, strict=True) for micro_batch in turn for one in micro_batch]
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": state.global_step, "sequence_ids": ids}) + "\n")
