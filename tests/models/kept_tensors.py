"""What torch keeps for the backward pass."""

import torch
from transformers import PreTrainedModel

LENGTH = 128


def kept_bytes(model: PreTrainedModel, half: bool, rows: int = 2) -> int:
    """By a forward pass of some rows for the backward one, beside the parameters."""
    ids, kept, alive = torch.ones(rows, LENGTH, dtype=torch.long), dict[int, int](), list[torch.Tensor]()
    own = {one.untyped_storage().data_ptr() for one in (*model.parameters(), *model.buffers())}
    given = {"use_cache": False}
    if model.config.model_type == "xlnet":
        order = torch.ones(LENGTH, LENGTH).triu().expand(rows, -1, -1)
        targets = torch.eye(LENGTH)[: LENGTH // 6 + 5].expand(rows, -1, -1)
        given = {"perm_mask": order, "target_mapping": targets}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            alive.append(tensor)  # so that no other takes its place
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=half),
    ):
        model(ids, **given)
    return sum(kept.values())
