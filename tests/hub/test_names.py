"""Names of repositories: models of another family or objective never go where the causal Llama's are."""

import hashlib
import re
from pathlib import Path

import pytest
from models.tiny_recipe import recipe

from lmeff.errors import InputError
from lmeff.hub.names import hub_names
from lmeff.plan import make_plan
from lmeff.recipe import read_recipe
from lmeff.recipe.sections.curriculum import Curriculum
from lmeff.recipe.sections.distillation import Distillation
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


HYBRID = {"causal_weight": 0.25, "final_mask_rate": 0.2, "mask_rate": 0.4, "masked_rows": 0.5, "masked_share": 0.7}
ALL_MASKS = {**HYBRID, "max_span": 4, "random_share": 0.2}


def test_masks_whose_words_are_too_long_have_a_hash() -> None:
    words = "causal_weight0.25-final_mask_rate0.2-mask_rate0.4-masked_rows0.5-masked_share0.7-max_span4-random_share0.2"
    end = hashlib.sha256(words.encode()).hexdigest()[:8]
    assert repository("llama", "hybrid", **ALL_MASKS) == f"me/synthetic-20m-tok8192-hybrid-{end}"
    assert repository("llama", "hybrid", **ALL_MASKS | {"max_span": 5}) != repository("llama", "hybrid", **ALL_MASKS)
    fits = {key: HYBRID[key] for key in ("causal_weight", "final_mask_rate", "mask_rate")}
    assert repository("llama", "hybrid", **fits).endswith("-causal_weight0.25-final_mask_rate0.2-mask_rate0.4")


def test_of_a_template_that_gives_too_long_a_name_it_is_said_what_to_do() -> None:
    with pytest.raises(
        InputError, match=r"has 103 characters, and the Hub takes 96; give 'publish\.repository' a shorter"
    ):
        repository("llama", None, "a" * 100)


def test_a_template_of_ones_own_is_taken_as_it_is() -> None:
    assert repository("bert", None, "{corpus}-tok{vocab_size}") == "me/synthetic-tok8192"
    assert repository("llama", "hybrid", "{family}-{objective}-{size}") == "me/llama-hybrid-20m"
    assert repository("xlnet", None, "{family}-{objective}") == "me/xlnet-permutation"


def with_method(**sections: object) -> str:
    settings = recipe(8192, family="llama", size="20m")
    settings = settings.model_copy(update={"schedule": Schedule(warmup=0), **sections})
    return hub_names(settings, make_plan(settings), "me").repository


@pytest.mark.parametrize(
    ("keys", "end"),
    [
        ({}, ""),
        ({"alpha": 0.5}, ""),
        ({"alpha": 0.00775}, "-alpha0.00775"),
        ({"alpha": 0.25, "reduction": "batchmean", "temperature": 1}, "-alpha0.25-batchmean-temperature1"),
        ({"average": "probabilities", "cache": {"kind": "top_k", "k": 8}}, "-probabilities-top_k8"),
        ({"cache": {"kind": "sampled"}}, "-sampled"),
    ],
)
def test_what_distillation_is_set_to_is_in_the_name(keys: dict, end: str) -> None:
    repository = with_method(distillation=Distillation.model_validate({"teachers": ["a/model"], **keys}))
    assert repository == f"me/synthetic-20m-tok8192-distillation{end}"


def test_students_of_one_text_do_not_share_a_name() -> None:
    """BabyLlama's three, by their own recipes."""
    recipes = Path(__file__).parents[2] / "recipes" / "babyllama"
    names = ("llama_58m_distilled", "llama_58m_distilled_half", "published/llama_58m_distilled", "published/llama_58m")
    settings = [read_recipe(recipes / f"{name}.yaml").recipe for name in names]
    repositories = [hub_names(one, make_plan(one), "me").repository for one in settings]
    assert len(set(repositories)) == 4, repositories


@pytest.mark.parametrize(
    ("keys", "end"),
    [
        ({"protocol": "full_random"}, "-curriculum-full_random"),
        (
            {"protocol": "full_random", "faults": ["second_epoch_unshuffled"]},
            "-curriculum-full_random-second_epoch_unshuffled",
        ),
        ({"protocol": "iterative", "start": 0.1, "pacing": "share"}, "-curriculum-random-share-start0.1"),
        ({"protocol": "iterative", "look_every": 5_000_000}, "-curriculum-random-look_every5000000"),
        ({"protocol": "iterative", "order": "own_loss", "hardest_first": True}, "-curriculum-own_loss-hardest_first"),
        ({"protocol": "iterative", "order": "own_loss", "hardest_first": False}, "-curriculum-own_loss"),
        ({"protocol": "iterative"}, "-curriculum-random"),
        ({"protocol": "iterative", "order": "own_loss"}, "-curriculum-own_loss"),
    ],
)
def test_a_curriculum_is_in_the_name(keys: dict, end: str) -> None:
    assert with_method(curriculum=Curriculum.model_validate(keys)) == f"me/synthetic-20m-tok8192{end}"


def test_a_name_that_would_be_too_long_ends_in_a_hash() -> None:
    faults = ["share_of_documents", "best_of_all_stages", "text_by_rank"]
    ends = []
    for some in (faults, faults[::-1], faults[:2]):
        curriculum = Curriculum.model_validate({"protocol": "iterative", "faults": some})
        ends.append(with_method(curriculum=curriculum).removeprefix("me/synthetic-20m-tok8192-curriculum-random-"))
    assert all(re.fullmatch(r"[0-9a-f]{8}", end) for end in ends)
    assert ends[0] == ends[1] != ends[2], "in whatever order they are named"
