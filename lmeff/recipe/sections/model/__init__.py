"""`model:` the architecture and its shape; one file a family."""

from lmeff.recipe.sections.model.bert import BertSection
from lmeff.recipe.sections.model.gpt2 import Gpt2Section
from lmeff.recipe.sections.model.llama import LlamaSection
from lmeff.recipe.sections.model.section import FAMILIES, AnyModel, Model, all_fields, section_of

FAMILIES["llama"] = LlamaSection
FAMILIES["gpt2"] = Gpt2Section
FAMILIES["bert"] = BertSection

__all__ = ["FAMILIES", "AnyModel", "BertSection", "Gpt2Section", "LlamaSection", "Model", "all_fields", "section_of"]
