"""What every objective hands to the loader and to engines: tensors that can be pinned, and whose numbers no engine rounds."""

from pathlib import Path
from typing import Any

import pytest
import torch
from objectives.drawing import pieces_of, recipe_of

from lmeff.objectives import objective_of
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.objective import Objective

OBJECTIVES = {
    "causal": ("llama", ()),
    "masked": ("bert", ()),
    "permutation": ("llama", ()),
    "hybrid": ("llama", ("objective.name=hybrid", "objective.masked_rows=0.5", "objective.causal_weight=0.3")),
}


def recipe_for(folder: Path, name: str) -> Recipe:
    family, words = OBJECTIVES[name]
    if name != "permutation":
        return recipe_of(folder, family, *words)
    # Only the numbers of the recipe matter here.
    return recipe_of(folder, "llama").model_copy(update={"objective": Objective(name="permutation")})


def tensors_of(inputs: dict[str, Any]) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for name, value in inputs.items():
        found |= tensors_of(value) if isinstance(value, dict) else {name: value} if torch.is_tensor(value) else {}
    return found


# XLNet cannot keep documents apart.
@pytest.mark.parametrize(
    ("name", "apart"),
    [(name, apart) for name in OBJECTIVES for apart in (False, True) if not apart or name != "permutation"],
)
def test_every_number_has_a_place_in_memory(name: str, apart: bool, tmp_path: Path) -> None:
    """Memory is pinned for a GPU by a copy into a tensor of the same strides: not where several numbers share one place."""
    inputs = objective_of(recipe_for(tmp_path, name)).inputs(pieces_of(16, 32, apart=apart))
    tensors = tensors_of(inputs)
    assert {"input_ids", "labels"} <= tensors.keys()
    for tensor in tensors.values():
        torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype).copy_(tensor)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_what_waits_for_a_step_grows_with_the_text_and_not_with_its_square(name: str, tmp_path: Path) -> None:
    """All micro-batches of a step are in memory at once."""
    objective, pieces = objective_of(recipe_for(tmp_path, name)), pieces_of(16, 32, apart=name != "permutation")
    inputs = objective.inputs(pieces)
    assert max(one.numel() for one in tensors_of(inputs).values()) <= pieces.input_ids.size
    largest = max(one.numel() for one in tensors_of(objective.prepare(inputs)).values())
    assert largest == pieces.input_ids.size * (1 if name == "causal" else 32)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_loss_is_the_same_where_an_engine_rounds_floats(name: str, tmp_path: Path) -> None:
    """DeepSpeed has its floats in its own precision, those in batches too."""
    objective = objective_of(recipe_for(tmp_path, name))
    targets = objective.inputs(pieces_of(16, 32))["targets"]
    rounded = {key: one.bfloat16() if one.is_floating_point() else one for key, one in targets.items()}
    logits = torch.randn((*targets["labels"].shape, 301), generator=torch.Generator().manual_seed(0))
    divisor = objective.total_weight(targets)
    divisor = objective.num_labeled(targets) if divisor is None else divisor
    assert torch.equal(
        objective.losses(logits, targets, divisor)["loss"], objective.losses(logits, rounded, divisor)["loss"]
    )
