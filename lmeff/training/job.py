"""Builds the trainer of a run with its callbacks, and trains from the start or from the newest complete checkpoint."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch.distributed as dist
from transformers import PrinterCallback
from transformers import ProgressCallback as StockProgressCallback

from lmeff.files import write_json
from lmeff.models.build import build_model
from lmeff.plan import make_plan
from lmeff.recipe.documents import AnchorDocument, PlanDocument
from lmeff.recipe.schema import Recipe
from lmeff.revisions import RevisionStore
from lmeff.tokens import Tokens
from lmeff.training.anchors import AnchorCallback
from lmeff.training.arguments import training_arguments
from lmeff.training.checkpoints import newest_complete
from lmeff.training.engine import check_engine
from lmeff.training.micro import probe_micro_batch
from lmeff.training.process import launched_rank, launched_world_size
from lmeff.training.reporting import ProgressCallback, RunLogCallback, StateCallback
from lmeff.training.state import RunState
from lmeff.training.timed import TimedCheckpointCallback
from lmeff.training.trainer import LmeffTrainer, read_own_state


def train(
    recipe: Recipe,
    folder: Path,
    tokens: Tokens,
    run_state: RunState,
    *,
    recipe_yaml: str,
    provenance: Mapping[str, Any],
    write_card: Callable[[PlanDocument, AnchorDocument, str], str],
    evaluate: Callable[[Path], None] | None,
) -> PlanDocument:
    """Trains to the last anchor and keeps every anchor and the final model under `folder/revisions`. Every process calls this.

    Raises InputError for a launcher or a checkpoint that does not fit, and RunFailed when the loss is not finite.
    """
    checkpoint, complaints = newest_complete(folder)
    if launched_rank() == 0:
        for complaint in complaints:
            print(complaint)
        if checkpoint:
            print(f"going on from {checkpoint}")
    micro_batch = (
        read_own_state(checkpoint)["micro_batch"]
        if checkpoint and recipe.batch.micro == "auto"
        else probe_micro_batch(recipe)
    )
    plan = make_plan(recipe, world_size=launched_world_size(), micro_batch=micro_batch)
    trainer = LmeffTrainer(
        build_model(recipe), training_arguments(recipe, folder, plan.micro_batch, plan.accumulation), recipe, tokens
    )
    check_engine(trainer.accelerator)
    if launched_rank() == 0:
        write_json(folder / "plan.json", plan.model_dump())
    store = RevisionStore(
        folder=folder / "revisions",
        seed=recipe.seed,
        tokenizer_folder=tokens.tokenizer_folder,
        recipe_yaml=recipe_yaml,
        provenance=provenance,
        write_card=lambda anchor, revision: write_card(plan, anchor, revision),
    )
    trainer.remove_callback(StockProgressCallback)
    trainer.remove_callback(PrinterCallback)
    minutes = recipe.checkpoints.every_minutes
    progress = ProgressCallback(plan, trainer)
    for callback in (
        *([TimedCheckpointCallback(minutes)] if minutes else []),
        AnchorCallback(trainer, store, plan, tokens.train.num_tokens, evaluate),
        progress,
        RunLogCallback(folder / "run.log.jsonl", plan, trainer),
        StateCallback(run_state),
    ):
        trainer.add_callback(callback)
    try:
        if checkpoint:
            trainer.resume(checkpoint)
        else:
            trainer.train()
    finally:
        progress.close()
    if trainer.is_world_process_zero():
        store.save_final(plan.anchors[-1].nominal_tokens)
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()
    return plan
