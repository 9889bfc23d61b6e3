"""Names of repositories: models of another family or objective never go where the causal Llama's are."""

import pytest
from models.tiny_recipe import recipe

from lmeff.hub.names import hub_names
from lmeff.plan import make_plan
from lmeff.recipe.sections.curriculum import Curriculum
from lmeff.recipe.sections.model import FAMILIES
from lmeff.recipe.sections.objective import Objective
from lmeff.recipe.sections.publish import Publish
from lmeff.recipe.sections.schedule import Schedule


def repository(family: str, objective: str | None = None, template: str | None = None, **keys: float) -> str:
    settings = recipe(8192, family=family, size="20m")
    changes = {
        "schedule": Schedule(warmup=0),
        "objective": Objective(name=objective, **keys),
        "publish": Publish(**{"repository": template} if template else {}),
    }
    settings = settings.model_copy(update=changes)
    return hub_names(settings, make_plan(settings), "me").repository


def test_a_causal_llama_keeps_the_published_name() -> None:
    assert repository("llama") == repository("llama", "causal") == "me/synthetic-20m-tok8192"


@pytest.mark.parametrize(
    ("family", "objective", "name"),
    [
        ("llama", "hybrid", "synthetic-20m-tok8192-hybrid"),
        ("gpt2", None, "synthetic-20m-tok8192-gpt2"),
        ("gpt2", "hybrid", "synthetic-20m-tok8192-gpt2-hybrid"),
        ("bert", "masked", "synthetic-20m-tok8192-bert"),
        ("xlnet", None, "synthetic-20m-tok8192-xlnet"),
    ],
)
def test_others_add_what_they_are(family: str, objective: str | None, name: str) -> None:
    """The vocabulary is that of the text, also where the model has `<mask>` beside it."""
    assert repository(family, objective) == f"me/{name}"


def test_no_two_share_a_name() -> None:
    pairs = [
        (family, objective) for family, section in FAMILIES.items() for objective in section.objectives if section.sizes
    ]
    assert len({repository(*pair) for pair in pairs}) == len(pairs) > 7


def test_other_masks_have_names_of_their_own() -> None:
    assert repository("llama", "hybrid", masked_rows=0.5).endswith("-hybrid-masked_rows0.5")
    assert repository("bert", "masked", whole_word=True, mask_rate=0.4).endswith(
        "-bert-final_mask_rate0.4-mask_rate0.4-whole_word"
    )
    assert repository("llama", "causal", z_loss=1e-4) == "me/synthetic-20m-tok8192-z_loss0.0001"
    assert repository("bert", "masked", mask_rate=0.15) == repository("bert"), "the default, said"


def test_a_template_of_ones_own_is_taken_as_it_is() -> None:
    assert repository("bert", None, "{corpus}-tok{vocab_size}") == "me/synthetic-tok8192"
    assert repository("llama", "hybrid", "{family}-{objective}-{size}") == "me/llama-hybrid-20m"
    assert repository("xlnet", None, "{family}-{objective}") == "me/xlnet-permutation"


@pytest.mark.parametrize(
    ("keys", "end"),
    [
        ({"protocol": "full_random"}, "-curriculum-full_random"),
        ({"protocol": "iterative"}, "-curriculum-random"),
        ({"protocol": "iterative", "order": "own_loss"}, "-curriculum-own_loss"),
    ],
)
def test_a_curriculum_is_in_the_name(keys: dict[str, str], end: str) -> None:
    settings = recipe(8192, family="llama", size="20m")
    changes = {"schedule": Schedule(warmup=0), "curriculum": Curriculum(**keys)}
    settings = settings.model_copy(update=changes)
    assert hub_names(settings, make_plan(settings), "me").repository == f"me/synthetic-20m-tok8192{end}"
