"""Teachers that are asked: models beside the student, of which nobody who trains, shards or saves the student knows."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from lmeff.library_internals import models_loaded_whole
from lmeff.methods.distillation.sources import TeacherSource
from lmeff.methods.distillation.terms import WholeTerm
from lmeff.models.loading import load_language_model
from lmeff.objectives import Pieces
from lmeff.recipe.schema import Recipe
from lmeff.training.arguments import half_precision


class AskedTeachers:
    """The teachers of a recipe, in the precision that the run computes in, whatever they were saved in. Every process has all
    of them, whole."""

    def __init__(self, recipe: Recipe, sources: Sequence[TeacherSource]) -> None:
        self.sources = sources
        self.term = WholeTerm(recipe.distillation.temperature, recipe.distillation.average)
        self._half = half_precision(recipe)
        self._models: list[Any] = []

    def models(self, device: torch.device) -> list[PreTrainedModel]:
        """Loaded when they are first asked for. Raises InputError for a folder that holds no such model."""
        if not self._models:
            self._models = [self._load(source).to(device) for source in self.sources]
        return self._models

    def forget(self) -> None:
        """Frees their memory; they are loaded again when they are asked again."""
        self._models = []

    def _load(self, source: TeacherSource) -> Any:
        with models_loaded_whole():
            model: Any = load_language_model(source.folder)
        model.config.use_cache = False
        return model.to(self._half or torch.float32).eval().requires_grad_(False)

    def for_pieces(self, pieces: Pieces) -> dict[str, torch.Tensor]:
        return {}

    @torch.no_grad()
    def for_inputs(self, inputs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Logits of each teacher for just the inputs that the student is given: text, positions and what sees what."""
        device = inputs["input_ids"].device
        with torch.autocast(device.type, dtype=self._half, enabled=self._half is not None):
            return {str(number): model(**inputs).logits for number, model in enumerate(self.models(device))}
