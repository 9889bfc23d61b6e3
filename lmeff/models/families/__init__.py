"""The families of architectures: one file each. Imports no torch."""

from typing import TYPE_CHECKING

from lmeff.errors import InputError
from lmeff.models.families.auto import Auto
from lmeff.models.families.bert import Bert
from lmeff.models.families.family import Family, Parameters
from lmeff.models.families.gpt2 import Gpt2
from lmeff.models.families.gptj import Gptj
from lmeff.models.families.llama import Llama
from lmeff.models.families.mamba2 import Mamba2
from lmeff.models.families.modernbert import ModernBert
from lmeff.models.families.xlnet import XLNet
from lmeff.recipe import Resolved
from lmeff.recipe.schema import Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

FAMILIES: dict[str, type[Family]] = {
    "llama": Llama,
    "gpt2": Gpt2,
    "gptj": Gptj,
    "mamba2": Mamba2,
    "bert": Bert,
    "modernbert": ModernBert,
    "xlnet": XLNet,
    "auto": Auto,
}
"""By the name that recipes use. Each has a section of that name in `lmeff/recipe/sections/model/`."""


def family_of(recipe: Recipe) -> Family:
    """The recipe's model by its shape. Raises InputError for a model that cannot be."""
    return FAMILIES[recipe.model.family].of_recipe(recipe)


def check_family(resolved: Resolved) -> None:
    """Raises InputError with a line, which names file and line, for each mistake in a model that only building it shows."""
    try:
        family_of(resolved.recipe)
    except InputError as error:
        parts = (mistake.partition(": ") for mistake in error.mistakes)
        raise InputError(*(resolved.line_of(key, text) for key, _, text in parts)) from None


def family_of_config(config: "PreTrainedConfig") -> type[Family] | None:
    """The family of a configuration; None for an architecture that no recipe can name."""
    named = next((family for family in FAMILIES.values() if family.model_type == config.model_type), None)
    return named or (Auto if Auto.knows(config) else None)


__all__ = [
    "FAMILIES",
    "Auto",
    "Bert",
    "Family",
    "Gpt2",
    "Gptj",
    "Llama",
    "Mamba2",
    "ModernBert",
    "Parameters",
    "XLNet",
    "check_family",
    "family_of",
    "family_of_config",
]
