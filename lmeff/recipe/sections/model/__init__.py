"""`model:` the architecture and its shape; one file a family."""

from lmeff.recipe.sections.model.llama import LlamaSection
from lmeff.recipe.sections.model.section import FAMILIES, AnyModel, Model, all_fields, section_of

FAMILIES["llama"] = LlamaSection

__all__ = ["FAMILIES", "AnyModel", "LlamaSection", "Model", "all_fields", "section_of"]
