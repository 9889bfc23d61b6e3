"""`model:` the architecture and its shape; one file a family."""

from lmeff.recipe.sections.model.auto import AutoSection
from lmeff.recipe.sections.model.bert import BertSection
from lmeff.recipe.sections.model.gpt2 import Gpt2Section
from lmeff.recipe.sections.model.gptj import GptjSection
from lmeff.recipe.sections.model.llama import LlamaSection
from lmeff.recipe.sections.model.mamba2 import Mamba2Section
from lmeff.recipe.sections.model.modernbert import ModernBertSection
from lmeff.recipe.sections.model.section import FAMILIES, AnyModel, Model, all_fields, section_of
from lmeff.recipe.sections.model.xlnet import XLNetSection

FAMILIES["llama"] = LlamaSection
FAMILIES["gpt2"] = Gpt2Section
FAMILIES["gptj"] = GptjSection
FAMILIES["mamba2"] = Mamba2Section
FAMILIES["bert"] = BertSection
FAMILIES["modernbert"] = ModernBertSection
FAMILIES["xlnet"] = XLNetSection
FAMILIES["auto"] = AutoSection

__all__ = [
    "FAMILIES",
    "AnyModel",
    "AutoSection",
    "BertSection",
    "Gpt2Section",
    "GptjSection",
    "LlamaSection",
    "Mamba2Section",
    "Model",
    "ModernBertSection",
    "XLNetSection",
    "all_fields",
    "section_of",
]
