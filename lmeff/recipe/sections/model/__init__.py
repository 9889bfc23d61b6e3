"""`model:` the architecture and its shape; one file a family."""

from lmeff.recipe.sections.model.bert import BertSection
from lmeff.recipe.sections.model.llama import LlamaSection
from lmeff.recipe.sections.model.section import FAMILIES, AnyModel, Model, all_fields, section_of

FAMILIES["llama"] = LlamaSection
FAMILIES["bert"] = BertSection

__all__ = ["FAMILIES", "AnyModel", "BertSection", "LlamaSection", "Model", "all_fields", "section_of"]
