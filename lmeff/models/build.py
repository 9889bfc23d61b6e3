"""A recipe's model with its first weights."""

import torch
import transformers
from transformers import AutoConfig, PreTrainedModel

from lmeff.models.config_file import loads_as_saved
from lmeff.models.families import family_of
from lmeff.models.trial import check_decoder
from lmeff.recipe.schema import Recipe
from lmeff.tokens import BOS_ID, EOS_ID, PAD_ID


def build_model(recipe: Recipe) -> PreTrainedModel:
    """A model of the recipe's family in float32 on the CPU. Its weights depend on shape and seed alone, under every launcher.
    Raises InputError for a model of the family `auto` that cannot be trained.

    The class is called itself: `from_config` would enter ZeRO-3's initialization context, which draws the weights in pieces.
    """
    family = family_of(recipe)
    special_tokens = {"pad_token_id": PAD_ID, "bos_token_id": BOS_ID, "eos_token_id": EOS_ID}
    if family.auto_class == "AutoModelForMaskedLM":  # whose texts stand between two tokens of these names
        special_tokens |= {"cls_token_id": BOS_ID, "sep_token_id": EOS_ID, "mask_token_id": family.vocab_size - 1}
    config = AutoConfig.for_model(
        family.model_type,
        **family.config_values(recipe),
        vocab_size=family.vocab_size,
        **special_tokens,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model: PreTrainedModel = getattr(transformers, family.model_class)(config)
    loads_as_saved(config)
    family.take_half_weights(model)
    if family.is_tried:
        check_decoder(model, recipe.seed)
    return model
