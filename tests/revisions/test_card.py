"""Cards of models of all families and objectives: words and tags."""

import pytest
import yaml
from models.tiny_recipe import recipe

from lmeff.formats.anchor import AnchorDocument
from lmeff.plan import make_plan
from lmeff.recipe.sections.curriculum import Curriculum
from lmeff.recipe.sections.model import FAMILIES
from lmeff.recipe.sections.objective import Objective
from lmeff.recipe.sections.schedule import Schedule
from lmeff.revisions.card import main_card, model_card

CASES = {
    ("llama", "causal"): ("text-generation", "AutoModelForCausalLM", "from scratch on `synthetic`", "(none on norms)"),
    ("llama", "hybrid"): ("text-generation", "AutoModelForCausalLM", "causal next-token prediction", "(none on norms)"),
    ("gpt2", "causal"): ("text-generation", "AutoModelForCausalLM", "A GPT-2 ", "(none on norms and biases)"),
    ("gpt2", "hybrid"): (
        "text-generation",
        "AutoModelForCausalLM",
        "by masked and causal next-token prediction in turn",
        "(none on norms and biases)",
    ),
    ("gptj", "causal"): ("text-generation", "AutoModelForCausalLM", "A GPT-J ", "(none on norms and biases)"),
    ("mamba2", "causal"): ("text-generation", "AutoModelForCausalLM", "A Mamba-2 ", "norms, biases, A_log and D"),
    ("bert", "masked"): ("fill-mask", "AutoModelForMaskedLM", "to fill in masked tokens", "(none on norms and biases)"),
    ("modernbert", "masked"): ("fill-mask", "AutoModelForMaskedLM", "A ModernBERT ", "(none on norms and biases)"),
    ("xlnet", "permutation"): (
        "text-generation",
        "AutoModelForCausalLM",
        "in a random order",
        "norms, biases, segments",
    ),
    ("auto", "causal"): ("text-generation", "AutoModelForCausalLM", "A GPTNeoX ", "other vectors and A_log"),
}
CONFIG = {"model_type": "gpt_neox", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
SCORED = {"masked": "by pseudo-log-likelihood", "permutation": "left to right"}
LOSSES = {
    "causal": "dev_loss",
    "hybrid": "dev_loss",
    "masked": "dev_masked_loss",
    "permutation": "dev_permutation_loss",
}

PREDICTED = {"masked": "masked", "permutation": "predicted"}
TRAINED = {
    "causal": "training loss (nats per token)",
    "hybrid": "training loss of masked and causal rows, by their weights (nats per position)",
}
SETTINGS = {
    "causal": "",
    "hybrid": "| hybrid: masked_rows 0.9375, mask_rate 0.3, final_mask_rate 0.15, masked_share 0.8, random_share 0.1,"
    " max_span 3, causal_weight the mask rate |",
    "masked": "| masked: mask_rate 0.15, final_mask_rate 0.15, masked_share 0.8, random_share 0.1, whole_word false |",
    "permutation": "| permutation: predicted_share 0.166667, max_span 5 |",
}


def test_every_family_and_objective_is_tried() -> None:
    legal = {(family, objective) for family, section in FAMILIES.items() for objective in section.objectives}
    assert CASES.keys() == legal


@pytest.mark.parametrize(("family", "objective"), CASES)
def test_a_card_says_what_the_model_is(family: str, objective: str) -> None:
    tag, auto_class, words, decay = CASES[family, objective]
    changes = {"schedule": Schedule(warmup=0), "objective": Objective(name=objective)}
    shape = {"config": CONFIG} if family == "auto" else {"size": "20m"}
    settings = recipe(family=family, **shape).model_copy(update=changes)
    nothing = {name: None for name, field in AnchorDocument.model_fields.items() if field.is_required()}
    anchor = AnchorDocument.model_construct(
        **nothing | {"nominal_tokens": 1000, "exact_tokens": 1024, "step": 1, "epoch": 0.5}
    )
    anchor = anchor.model_copy(
        update={LOSSES[objective]: 2.5, "flops": 1e9, "world_size": 1, "device": "cpu", "mode": "snapshot"}
    )
    card = model_card(settings, make_plan(settings), anchor, "seed-0-tokens-1k")
    about = yaml.safe_load(card.split("---\n")[1])
    assert about["pipeline_tag"] == tag
    assert (objective in about["tags"]) == (objective != "causal")
    assert (CONFIG["model_type"] if family == "auto" else family) in about["tags"]
    assert f"model = {auto_class}.from_pretrained(" in card
    assert words in " ".join(card.split())
    assert decay in card
    is_causal = LOSSES[objective] == "dev_loss"
    assert ("bits per byte" in card) == is_causal
    assert ("| held-out loss (nats per token) | 2.5000 |" in card) == is_causal
    loss = f"loss of {PREDICTED[objective]} tokens (nats per {PREDICTED[objective]} token)" if not is_causal else ""
    assert f"| held-out {loss} | 2.5000 |" in card or is_causal
    assert f"| {TRAINED.get(objective) or 'training ' + loss} | not measured |" in card
    assert ("\n| objective | " in card) == (objective != "causal")
    assert SETTINGS[objective] in card
    # What scores every model causally gives no scores of one that sees later tokens.
    assert ("stock `lm_eval --model hf`" in " ".join(card.split())) == (objective in SCORED)
    assert f"`lmeff lm-eval run --model lmeff`: {SCORED.get(objective)}" in " ".join(card.split()) or is_causal
    index = main_card(settings, "me/it", [], picture=None, has_weights=False)
    assert yaml.safe_load(index.split("---\n")[1])["pipeline_tag"] == tag


def test_a_card_says_what_was_read_when() -> None:
    wanted = Curriculum(protocol="iterative", order="own_loss", start=0.1, faults=["text_by_rank"])
    changes = {"schedule": Schedule(warmup=0), "curriculum": wanted}
    settings = recipe(family="llama", size="20m").model_copy(update=changes)
    nothing = {name: None for name, field in AnchorDocument.model_fields.items() if field.is_required()}
    facts = {"nominal_tokens": 1000, "exact_tokens": 1024, "step": 1, "epoch": 0.5, "flops": 1e9, "flops_scoring": 2e8}
    facts |= {"world_size": 1, "device": "cpu", "mode": "snapshot", "dev_loss": 2.5, "num_documents_seen": 1234}
    card = model_card(settings, make_plan(settings), AnchorDocument.model_construct(**nothing | facts), "seed-0")
    assert (
        "| curriculum | iterative; by own_loss, from 0.1 of the text, pacing plateau; keeping text_by_rank of the"
        " published protocol; 1,234 different documents so far |"
    ) in card
    assert "| FLOPs of scoring text so far | 200M |" in card
    assert "curriculum" in yaml.safe_load(card.split("---\n")[1])["tags"]
