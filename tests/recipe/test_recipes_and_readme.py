"""The recipes we ship, and the page that describes them.

`python tests/recipe/test_recipes_and_readme.py` writes the table of keys of recipes/README.md again.
"""

import fnmatch
from pathlib import Path

import pytest
from recipe.key_tables import field_tables

from lmeff.cli.input_checks import check_text_of
from lmeff.corpora.catalogue import complete, describe
from lmeff.corpora.stages import with_download
from lmeff.models.families import family_of
from lmeff.plan import make_plan
from lmeff.plan.disk import text_tokens
from lmeff.quantities import format_bytes, format_short, format_tokens
from lmeff.recipe import read_recipe
from lmeff.recipe.mistakes import section_fields
from lmeff.recipe.sections.training import ALLOWED

RECIPES = Path(__file__).parents[2] / "recipes"
README = RECIPES / "README.md"
SHIPPED = sorted(RECIPES.glob("*.yaml"))
HEADING = "## Every key\n\n"


def recipe_tables() -> str:
    """All keys of a recipe."""
    allowed = ", ".join(f"`{name}`" for name in ALLOWED.split())
    return (
        field_tables(section_fields())
        + f"\n`training:` takes these fields of `transformers.TrainingArguments`: {allowed}.\n"
    )


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_recipe_is_valid_and_named_after_its_file(path):
    resolved = read_recipe(path)
    assert resolved.recipe.name == path.stem
    assert make_plan(resolved.recipe).num_steps > 0


STUDIES = sorted(
    path
    for folder in ("families", "babyllama", "tinyhelen", "allocation")
    for path in RECIPES.glob(f"{folder}/**/*.yaml")
)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: str(path.relative_to(RECIPES)))
def test_a_recipe_of_a_study_is_valid_and_named_after_its_file(path):
    study, *published, _ = path.relative_to(RECIPES).parts
    resolved = read_recipe(path)
    assert resolved.recipe.name == "_".join([study, path.stem, *published])
    assert make_plan(resolved.recipe).num_steps > 0


@pytest.mark.parametrize("path", SHIPPED + STUDIES, ids=lambda path: str(path.relative_to(RECIPES)))
def test_the_text_of_a_shipped_recipe_is_found_as_far_as_that_needs_no_network(path):
    resolved = read_recipe(path)
    check_text_of(resolved)
    download = describe(resolved.recipe.corpus).get("download") or {}
    if not download or "hub" in download:  # what else is downloaded is asked for at once
        with_download(complete(resolved.recipe.corpus), Path("nowhere"))


def test_families_are_of_one_size_and_train_alike():
    recipes = {path.stem: read_recipe(path).recipe for path in RECIPES.glob("families/*.yaml")}
    sizes = [make_plan(recipe).parameters.total for recipe in recipes.values()]
    assert max(sizes) < 1.03 * min(sizes)
    alike = ("corpus", "tokenizer", "batch", "anchors", "optimizer", "schedule", "training", "seed")
    assert {repr([getattr(recipe, name) for name in alike]) for recipe in recipes.values()} == {
        repr([getattr(recipes["llama"], name) for name in alike])
    }


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("babyllama/llama_16m", 16.6),
        ("babyllama/llama_58m", 58.3),
        ("babyllama/llama_95m", 95.4),
        ("babyllama/llama_97m", 97.2),
        ("babyllama/llama_360m", 360.0),
        ("babyllama/gpt2_97m", 97.5),
        ("babyllama/gptj_97m", 97.3),
        ("babyllama/gpt2_705m", 704.9),
        ("tinyhelen/llama_1m", 1.6),
        ("tinyhelen/llama_10m", 15.8),
    ],
)
def test_models_have_the_published_number_of_parameters(name, millions):
    plan = make_plan(read_recipe(RECIPES / f"{name}.yaml").recipe)
    assert round(plan.parameters.total / 1e6, 1) == millions


def test_the_readme_says_what_distillation_weighs_and_costs():
    student, *teachers = (
        read_recipe(RECIPES / f"babyllama/published/{name}.yaml").recipe
        for name in ("llama_58m", "llama_360m", "gpt2_705m")
    )
    own = make_plan(student)
    asked = sum(family_of(teacher).forward_flops_per_token(128) for teacher in teachers) * own.num_tokens
    trained = sum(make_plan(teacher).total_flops for teacher in teachers)
    once = asked / own.num_tokens * text_tokens(student.corpus, student.tokenizer.vocab_size)
    text = README.read_text()
    in_all, kept = (f"{1 + flops / own.total_flops:.1f}" for flops in (asked, once))
    before = f"{trained / own.total_flops:.0f}"
    assert f"all passes take {kept} instead of {in_all}. To train the teachers takes {before} more." in text
    for name in ("llama_58m_distilled", "published/llama_58m_distilled", "llama_58m_distilled_half"):
        settings = read_recipe(RECIPES / f"babyllama/{name}.yaml").recipe.distillation
        scale = 127 if settings.reduction == "batchmean" else 1
        weight = settings.alpha / (settings.alpha + (1 - settings.alpha) * scale)
        row = next(line for line in text.splitlines() if line.startswith(f"| `babyllama/{name}` |"))
        assert f"| {settings.alpha:g}, `{settings.reduction}`: " in row
        assert row.endswith(f"| {round(100 * weight, 1):g}% | {round(100 * (1 - weight), 1):g}% | {in_all} |")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_readme_says_what_a_recipe_costs(path):
    recipe = read_recipe(path).recipe
    plan = make_plan(recipe)
    row = next(line for line in README.read_text().splitlines() if line.startswith(f"| `{path.name}` |"))
    disk = format_bytes(plan.revision_bytes * len(plan.anchors))
    tokens = format_tokens(recipe.anchors.tokens[-1])
    for figure in (format_short(plan.parameters.total), tokens, f"{plan.num_steps:,}", disk):
        assert f" {figure} |" in row


def test_the_readme_describes_every_key_as_the_schema_does():
    described = README.read_text().partition(HEADING)[2]
    assert described == recipe_tables(), "run: python tests/recipe/test_recipes_and_readme.py"


PUBLISHED = {  # steps at 25M and 2000M tokens from the published runs' tokens per step
    "20m_tinystories": (5e-4, 0.005, 16_384, 1_526, 122_071, "tinystories", 16_000),
    "60m_babylm3": (4e-4, 0.005, 65_536, 382, 30_518, "babylm3", 16_000),
    "180m_hybrid": (3e-4, 0.01, 131_072, 191, 15_259, "hybrid_3.7B", 50_257),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_hyper_parameters(name):
    rate, decay, batch_tokens, first_step, last_step, corpus, vocab_size = PUBLISHED[name]
    recipe = read_recipe(RECIPES / f"{name}.yaml").recipe
    assert (recipe.optimizer.learning_rate, recipe.optimizer.weight_decay) == (rate, decay)
    assert (recipe.batch.tokens, recipe.batch.sequence_length) == (batch_tokens, 256)
    assert (recipe.schedule.name, recipe.schedule.warmup_parts()) == ("cosine", (300, "steps"))
    assert (recipe.optimizer.betas, recipe.optimizer.epsilon) == ([0.9, 0.999], 1e-8)
    assert recipe.training["max_grad_norm"] == 1.0
    assert (recipe.corpus.name, recipe.corpus.epochs, recipe.tokenizer.vocab_size) == (corpus, 50, vocab_size)
    steps = {anchor.name: anchor.step for anchor in make_plan(recipe).anchors}
    assert (steps["25M"], steps["2000M"]) == (first_step, last_step)
    assert list(steps) == ["0", *(f"{m}M" for m in (25, 50, 75, 100, 250, 500, 750, 1000, 1250, 1500, 1750, 2000))]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("bert", {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}),
        ("xlnet", {"dropout": 0.1}),
        ("llama_10m", {"rms_norm_eps": 1e-5, "rope_theta": 5e5, "attention_dropout": 0.0}),
        ("mamba2", {"layer_norm_epsilon": 1e-5, "tie_word_embeddings": False}),
    ],
)
def test_tinyhelen_as_published(name, values):
    recipe = read_recipe(RECIPES / f"tinyhelen/published/{name}.yaml").recipe
    steps = {anchor.step for anchor in make_plan(recipe).anchors}
    assert max(steps) == 10_000
    assert name in ("bert", "xlnet") or 1_000 in steps, "the chosen model, with most of its schedule before it"
    assert recipe.batch.tokens == 512 * (512 if name == "xlnet" else 1024)
    assert (recipe.seed, recipe.schedule.name, recipe.schedule.warmup) == (65, "linear", "100 steps")
    assert {key: getattr(recipe.model, key) for key in values} == values
    files = {f"{stem}0000" for stem in ("book", "code", "conversation", "math", "textbook", "web", "wiki")}
    read = {stem for one in recipe.corpus.domains for stem in fnmatch.filter(files, one)}
    assert files - read == {"code0000", "math0000"}


@pytest.mark.parametrize(
    ("name", "batch", "epochs", "warmup", "dropout"),
    [
        ("llama_16m", 128, 4, 300, 0),
        ("llama_95m", 128, 4, 300, 0),
        ("llama_360m", 128, 4, 200, 0),
        ("gpt2_705m", 256, 6, 200, 0.1),
        ("llama_58m", 32, 6, 200, 0),
    ],
)
def test_babyllama_as_published(name, batch, epochs, warmup, dropout):
    recipe = read_recipe(RECIPES / f"babyllama/published/{name}.yaml").recipe
    assert (recipe.batch.clock.sequences_per_step, recipe.batch.sequence_length) == (batch, 128)
    assert (recipe.corpus.epochs, recipe.schedule.warmup_parts()) == (epochs, (warmup, "steps"))
    dropouts = [value for key, value in recipe.model.model_dump().items() if "drop" in key]
    assert dropouts == [dropout] * len(dropouts) != []


def test_gptbert_has_the_published_lengths():
    """`pretraining/train_10m.py` and `train_100m.py`: 128 tokens, 256 from 70% of the steps on, 512 from 90% on."""
    for name in ("gptbert_babylm", "gptbert_babylm_100m"):
        recipe = read_recipe(RECIPES / f"{name}.yaml").recipe
        num_steps = make_plan(recipe).num_steps
        shares = [(round(step / num_steps, 3), length) for step, length in recipe.batch.length_stages()]
        assert shares == [(0, 128), (0.7, 256), (0.9, 512)]
        assert recipe.batch.document_mask


def test_babyllama_has_the_strict_configurations_by_a_few_keys():
    """The lines that recipes/base/babyllama.yaml names."""
    said = (RECIPES / "base/babyllama.yaml").read_text()
    track, six, four = (
        "corpus.track=100M",
        "anchors.tokens=[0,10M,100M,400M,800M]",
        "anchors.tokens=[0,10M,100M,400M,560M]",
    )
    rate, untied, passes = "optimizer.learning_rate=7e-4", "model.tie_word_embeddings=false", "corpus.epochs=4"
    for name, changes, millions in (
        ("llama_97m", [track, six], 97.2),
        ("gpt2_97m", [track, six], 97.5),
        ("gptj_97m", [track, passes, four], 97.3),
        ("llama_95m", [track, passes, four, rate], 95.4),
        ("llama_97m", [track, passes, four, untied], 109.5),
    ):
        recipe = read_recipe(RECIPES / f"babyllama/{name}.yaml", changes).recipe
        assert recipe.optimizer.learning_rate == 7e-4
        assert round(make_plan(recipe).parameters.total / 1e6, 1) == millions
        assert all(change in said for change in changes)


if __name__ == "__main__":
    text, heading, _ = README.read_text().partition(HEADING)
    README.write_text(text + heading + recipe_tables())
