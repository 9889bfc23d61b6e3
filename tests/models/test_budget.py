"""Shapes that are found for a number of parameters: against a literal search, and against instantiated models."""

import json
import math
import re
from itertools import product
from pathlib import Path

import pytest
import torch
import yaml

import lmeff
from lmeff.cli.main import main
from lmeff.errors import InputError
from lmeff.models.budget.shapes import Shapes
from lmeff.models.build import build_model
from lmeff.models.families import designs_of, family_of, solved
from lmeff.plan import make_plan
from lmeff.recipe import Resolved, read_recipe
from lmeff.recipe.changes import changes_since
from lmeff.recipe.schema import Recipe
from lmeff.runs.command_line import read_arguments

RECIPE = """
name: tiny
corpus: {name: synthetic}
tokenizer: {vocab_size: 16000}
model: MODEL
batch: {tokens: 1024, sequence_length: 128, micro: 4}
anchors: {tokens: [10240]}
schedule: {warmup: 1 steps}
"""
POSITIONS = 128
GROUPED = "llama, num_key_value_heads: 2"
SHAPE = "hidden_size: 128, intermediate_size: 352, num_hidden_layers: 4, num_attention_heads: 4"
PUBLISHED = (
    "{family: llama, tie_word_embeddings: true, budget: {parameters: 10M, embedding_share: 0.35, glu_factor: 2.66}}"
)


def read(folder: Path, model: str, *words: str) -> Resolved:
    path = folder / "budget.yaml"
    path.write_text(RECIPE.replace("MODEL", model))
    return read_recipe(path, words)


def mistake(folder: Path, model: str, *words: str) -> str:
    with pytest.raises(InputError) as error:
        solved(read(folder, model, *words))
    (line,) = str(error.value).split("\n")
    return line


# ---------------------------------------------------------------------- a literal search


def count(family: str, vocab: int, width: int, inner: int, layers: int, head: int) -> int:
    """Parameters without a second embedding, tensor by tensor."""
    square, norm = width * width, 2 * width  # a layer norm has two vectors, an RMS norm one
    linears = 4 * square + 2 * width * inner
    if family == GROUPED:  # keys and values of two heads, whatever the number of others
        linears = 2 * square + 2 * width * 2 * head + 2 * width * inner
    if family in ("llama", GROUPED):
        return vocab * width + layers * (linears + width * inner + 2 * width) + width
    if family == "gpt2":
        return (vocab + POSITIONS) * width + layers * (linears + 4 * width + inner + width + 2 * norm) + norm
    if family == "gptj":
        return vocab * width + vocab + layers * (linears + inner + width + norm) + norm
    if family == "bert":
        tables = (vocab + 1 + POSITIONS + 1) * width + norm
        head_of_model = square + width + norm + vocab + 1
        return tables + layers * (linears + 4 * width + inner + width + 2 * norm) + head_of_model
    if family == "modernbert":
        layer = linears + width * inner + 2 * width
        return (vocab + 1) * width + width + layers * layer - width + width + square + width + vocab + 1
    if family == "xlnet":
        attention = 5 * square + 3 * width + 2 * width + norm
        return vocab * width + width + vocab + layers * (attention + 2 * width * inner + inner + width + norm)
    heads, states = 2 * width // head, 2 * 128
    mixer = width * (4 * width + states + heads) + 2 * square + (2 * width + states) * (4 + 1) + 3 * heads + 2 * width
    return vocab * width + layers * (mixer + width) + width


def divisions(family: str, width: int) -> list[int]:
    """Sizes of heads, the preferred one first."""
    if family == "mamba2":
        return [size for size in (64, 32, 128, 16) if 2 * width % size == 0]
    sizes = [size for size in range(2, 129, 2) if width % size == 0 and (size >= 32 or (width < 128 and size >= 16))]
    sizes.sort(key=lambda size: (size % 8 != 0, abs(math.log(size / 64)), size))
    if family == GROUPED:
        return [size for size in sizes if width // size % 2 == 0]
    return sizes[:1]  # `count` is the same for all of them


def search(family: str, parameters: int, vocab: int, share: float, factor: float | None, tied: bool) -> dict:
    """Every shape there is, one after the other."""
    found: list[tuple] = []
    entries = vocab + (family in ("bert", "modernbert"))
    for width in range(8, parameters // vocab, 8):
        embedding = entries * width * (1 if tied else 2)
        if not 0.8 * share * 0.99 < embedding / parameters < 1.25 * share * 1.01:
            continue
        for place, head in enumerate(divisions(family, width)):
            for inner in range(8, 4 * width, 8) if factor else [0]:
                if factor and not factor / 1.25 <= inner / width <= factor * 1.25:
                    continue
                layers = 0
                while (total := count(family, vocab, width, inner, layers + 1, head) + (not tied) * vocab * width) <= (
                    1.005 * parameters
                ):
                    layers += 1
                    if total >= 0.995 * parameters and share / 1.25 <= embedding / total <= share * 1.25:
                        distance = math.log(embedding / total / share) ** 2
                        distance += math.log(inner / width / factor) ** 2 if factor else 0
                        near = (round(distance, 12), abs(total - parameters))
                        found.append((*near, width, place, layers, inner, head, total))
    _, _, width, _, layers, inner, head, total = min(found)
    return {"hidden_size": width, "inner": inner, "num_hidden_layers": layers, "head": head, "total": total}


CASES = [
    *((family, tied) for family in ("llama", GROUPED, "gpt2", "gptj", "mamba2") for tied in (True, False)),
    *((family, True) for family in ("bert", "modernbert", "xlnet")),
]


@pytest.mark.medium
@pytest.mark.parametrize(("parameters", "vocab"), [(2_000_000, 4000), (10_000_000, 16_000), (60_000_000, 32_000)])
@pytest.mark.parametrize(("family", "tied"), CASES)
def test_the_shape_is_that_of_a_literal_search(
    tmp_path: Path, family: str, tied: bool, parameters: int, vocab: int
) -> None:
    factor = None if family == "mamba2" else 2.9
    asked = f"parameters: {parameters}, embedding_share: 0.3" + (f", glu_factor: {factor}" if factor else "")
    tie = f"tie_word_embeddings: {tied}, " if (family, False) in CASES else ""
    words = [f"tokenizer.vocab_size={vocab}"]
    recipe = solved(read(tmp_path, f"{{family: {family}, {tie}budget: {{{asked}}}}}", *words)).recipe
    wanted, shape = search(family, parameters, vocab, 0.3, factor, tied), recipe.model.shape()
    width, heads = shape["hidden_size"], shape.get("num_attention_heads")
    assert (width, shape["num_hidden_layers"]) == (wanted["hidden_size"], wanted["num_hidden_layers"])
    assert (width // heads if heads else shape["head_dim"]) == wanted["head"]
    assert [shape[name] for name in ("intermediate_size", "n_inner", "d_inner") if name in shape] == [
        wanted["inner"]
    ] * bool(factor)
    with torch.device("meta"):
        model = build_model(recipe)
    assert sum(one.numel() for one in model.parameters()) == wanted["total"]


# ---------------------------------------------------------------------- the published study


@pytest.mark.parametrize(
    ("share", "factor", "known"),  # a shape known to be within 0.5%: width, feed-forward width
    [
        (0.25, 2.66, (160, 432)),
        (0.35, 2.66, (216, 552)),
        (0.45, 2.66, (280, 720)),
        (0.35, 2, (216, 432)),
        (0.35, 3, (216, 632)),
        (0.35, 4, (224, 896)),
    ],
)
def test_the_published_designs(tmp_path: Path, share: float, factor: float, known: tuple[int, int]) -> None:
    words = [f"model.budget.embedding_share={share}", f"model.budget.glu_factor={factor}"]
    recipe = solved(read(tmp_path, PUBLISHED, *words)).recipe
    with torch.device("meta"):
        model = build_model(recipe)
    total = sum(one.numel() for one in model.parameters())
    embedding = model.get_input_embeddings().weight.numel()
    assert total == pytest.approx(10_000_000, rel=0.005)
    shape = recipe.model.shape()

    def miss(of_share: float, of_factor: float) -> float:
        return math.hypot(math.log(of_share / share), math.log(of_factor / factor))

    ours = miss(embedding / total, shape["intermediate_size"] / shape["hidden_size"])
    assert ours <= miss(16_000 * known[0] / total, known[1] / known[0]) + 0.001
    assert ours < 0.05


# ---------------------------------------------------------------------- what a run keeps


def test_a_run_keeps_the_shape_that_was_found(tmp_path: Path) -> None:
    resolved = solved(read(tmp_path, PUBLISHED))
    kept = yaml.safe_load(resolved.to_yaml())["model"]
    assert (kept["hidden_size"], kept["intermediate_size"], kept["num_hidden_layers"]) == (216, 552, 12)
    assert kept["num_attention_heads"] == 3
    assert kept["budget"] == {
        "parameters": 10_000_000,
        "embedding_share": 0.35,
        "glu_factor": 2.66,
        "multiple_of": 8,
    }
    assert resolved.provenance["model.hidden_size"] == f"{tmp_path / 'budget.yaml'}:5"
    path = tmp_path / "kept.yaml"
    path.write_text(resolved.to_yaml())
    again = read_recipe(path)
    assert again.recipe == resolved.recipe
    assert solved(again).recipe == resolved.recipe
    assert family_of(read(tmp_path, PUBLISHED).recipe) == family_of(resolved.recipe)


def of_another_version(folder: Path, **changed: int) -> dict:
    """`recipe.yaml` of a run whose budget once led to another shape, the second best."""
    resolved = solved(read(folder, PUBLISHED))
    other = designs_of(read(folder, PUBLISHED).recipe)[1].fields
    assert other["hidden_size"] == 208
    kept = yaml.safe_load(resolved.to_yaml())
    return kept | {"model": kept["model"] | dict(other) | changed}


def test_a_run_that_has_begun_keeps_what_its_budget_led_to_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "outputs" / "tiny" / "seed-0"
    run.mkdir(parents=True)
    kept = of_another_version(tmp_path)
    (run / "recipe.yaml").write_text(yaml.safe_dump(kept))
    command = read_arguments([str(tmp_path / "budget.yaml")])
    assert command.recipe.model.shape()["hidden_size"] == 208
    assert changes_since(kept, command.resolved) == []
    other_wish = read_arguments([str(tmp_path / "budget.yaml"), "model.budget.glu_factor=4"])
    assert other_wish.recipe.model.shape()["hidden_size"] == 224
    changed = {change.key for change in changes_since(kept, other_wish.resolved)}
    assert changed == {f"model.{name}" for name in ("hidden_size", "intermediate_size", "num_hidden_layers")} | {
        "model.num_attention_heads"
    }


@pytest.mark.parametrize(
    "word",
    ["model.tie_word_embeddings=false", "tokenizer.vocab_size=9000", "model.hidden_size=216", "model.family=gpt2"],
)
def test_but_not_for_other_wishes(tmp_path: Path, word: str) -> None:
    begun = of_another_version(tmp_path)["model"]
    assert solved(read(tmp_path, PUBLISHED, word), begun).recipe == solved(read(tmp_path, PUBLISHED, word)).recipe


def test_a_wish_that_leads_to_the_same_shape_is_no_change(tmp_path: Path) -> None:
    kept = yaml.safe_load(solved(read(tmp_path, PUBLISHED)).to_yaml())
    assert changes_since(kept, solved(read(tmp_path, PUBLISHED, "model.budget.embedding_share=0.346"))) == []


# ---------------------------------------------------------------------- what may be given, and what not


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("family: llama", {"hidden_size": 256}),
        ("family: llama", {"num_hidden_layers": 8}),
        ("family: llama", {"num_attention_heads": 6}),
        ("family: llama, num_key_value_heads: 2", {"num_attention_heads": 8}),
        ("family: llama", {"head_dim": 48}),
        ("family: gptj, rotary_dim: 32", {"n_inner": 640}),
        ("family: mamba2", {"head_dim": 32}),
    ],
)
def test_what_the_recipe_says_stays(tmp_path: Path, model: str, fields: dict[str, int]) -> None:
    said = ", ".join(f"{name}: {value}" for name, value in fields.items())
    recipe = solved(read(tmp_path, f"{{{model}, {said}, budget: {{parameters: 12M}}}}")).recipe
    assert {name: recipe.model.shape()[name] for name in fields} == fields
    with torch.device("meta"):
        model_itself = build_model(recipe)
    assert sum(one.numel() for one in model_itself.parameters()) == pytest.approx(12_000_000, rel=0.005)


def test_without_a_share_layers_are_as_deep_as_usual(tmp_path: Path) -> None:
    shape = solved(read(tmp_path, "{budget: {parameters: 60M}}")).recipe.model.shape()
    assert shape["hidden_size"] / shape["num_hidden_layers"] == pytest.approx(32, rel=0.05)
    assert shape["intermediate_size"] / shape["hidden_size"] == pytest.approx(8 / 3, rel=0.05)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (
            "{family: mamba2, budget: {parameters: 1M, glu_factor: 2}}",
            "glu_factor: the family 'mamba2' has no feed-forward",
        ),
        ("{family: auto, config: {model_type: opt}, budget: {parameters: 1M}}", "the family 'auto' has no shape that"),
        ("{size: 20m, budget: {parameters: 1M}}", "model.budget: there is also a size (20m); give one of them"),
        ("{budget: {embedding_share: 0.3}}", "model.budget.parameters: missing; the section 'model.budget:' needs it"),
        ("{budget: {parameters: 1M, embedding_share: 35}}", "model.budget.embedding_share: must be below 1, not 35"),
        (
            "{budget: {parameters: 100k, embedding_share: 0.35}}",
            "no 'llama' with 16,000 entries has 100,000 parameters (within 0.5%) and embedding_share 0.35",
        ),
        (
            "{hidden_size: 512, tie_word_embeddings: true, budget: {parameters: 10M, multiple_of: 64}}",
            "the nearest: hidden_size 512, intermediate_size 1152, num_hidden_layers 1, num_attention_heads 8: 11,011,584"
            " parameters (+10.12%), embedding_share 0.744, glu_factor 2.250",
        ),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path: Path, model: str, said: str) -> None:
    line = mistake(tmp_path, model)
    assert line.startswith(f"{tmp_path / 'budget.yaml'}:5: model")
    assert said in line


@pytest.mark.parametrize(
    ("family", "parameters", "share", "factor", "num_entries"),
    [
        ("llama", 60_000, 0.35, 2.66, 300),
        ("llama", 100_000, 0.7, 2, 600),
        (GROUPED, 100_000, 0.9, 2.66, 300),
        ("gpt2", 150_000, 0.02, 3, 300),
        ("mamba2", 200_000, 0.9, None, 300),
        ("xlnet", 100_000, 0.8, 4, 600),
    ],
)
def test_the_nearest_miss_is_that_of_a_slow_search(
    tmp_path: Path, family: str, parameters: int, share: float, factor: float | None, num_entries: int
) -> None:
    """Over all widths, divisions, feed-forward widths and depths."""
    asked = f"parameters: {parameters}, embedding_share: {share}" + (f", glu_factor: {factor}" if factor else "")
    tie = "" if family == "xlnet" else "tie_word_embeddings: true, "
    line = mistake(tmp_path, f"{{family: {family}, {tie}budget: {{{asked}}}}}", f"tokenizer.vocab_size={num_entries}")
    best, nearest = math.inf, (0, 0, 0)
    for width in range(16, 200, 8):
        low, high = (width * factor / 1.25, width * factor * 1.25) if factor else (0, 0)
        for head, inner in product(divisions(family, width), range(8 * bool(factor), 5 * width, 8)):
            if not low <= inner <= high:
                continue
            for depth in range(1, 120):
                total = count(family, num_entries, width, inner, depth, head)
                off = (math.log(total / parameters) / 0.005) ** 2
                misses = (
                    math.log(num_entries * width / total / share),
                    math.log(inner / width / factor) if factor else 0,
                )
                distance = off + sum(one**2 for one in misses) / math.log(1.25) ** 2
                if distance < best:
                    best, nearest = distance, (width, inner, depth)
    width, inner, depth = nearest
    found = (
        f"the nearest: hidden_size {width}, " + (rf"\w+ {inner}, " if factor else "") + f"num_hidden_layers {depth}, "
    )
    assert re.search(found, line), line


@pytest.mark.parametrize(("family", "tied"), CASES)
def test_no_layer_has_fewer_parameters_than_is_said_without_counting(tmp_path: Path, family: str, tied: bool) -> None:
    tie = f"tie_word_embeddings: {tied}, " if (family, False) in CASES else ""
    recipe = read(tmp_path, f"{{family: {family}, {tie}budget: {{parameters: 10M}}}}").recipe

    def total_and_embedding(one: Recipe) -> tuple[int, int]:
        counted = family_of(one).count_parameters()
        return counted.total, counted.embedding

    shapes = Shapes(recipe, total_and_embedding)
    for width in (16, 64, 200, 1024):
        for one in shapes.divisions(width):
            assert one.of_layer + 8 * one.of_inner >= shapes.least_layer(width, 8 if one.of_inner else 0)
            assert one.of_inner == 0 or one.of_inner >= 2 * width


# ---------------------------------------------------------------------- the plan


def test_the_plan_shows_the_shape_and_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read(tmp_path, PUBLISHED)
    assert main(["plan", str(tmp_path / "budget.yaml")]) == 0
    lines = capsys.readouterr().out.splitlines()
    first = lines.index("budget     10,000,000 parameters within 0.5%, embedding_share 0.35, glu_factor 2.66")
    table = [line.split() for line in lines[first + 1 : first + 7]]
    assert table[1] == ["found", "216", "552", "12", "3", "tied", "9,993,240", "-0.07%", "0.346", "2.556"]
    assert [row[1] for row in table[2:5]] == ["208", "224", "232"]
    assert (table[5][1], table[5][5]) == ("112", "untied")
    assert main(["plan", str(tmp_path / "budget.yaml"), "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["budget"]["found"]["parameters"] == plan["parameters"]["total"] == 9_993_240
    assert plan["budget"]["found"]["fields"]["hidden_size"] == 216
    assert len(plan["budget"]["alternatives"]) == 4


def test_the_plan_of_a_recipe_without_a_budget_is_as_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read(tmp_path, "{size: 20m}")
    assert main(["plan", str(tmp_path / "budget.yaml"), "--json"]) == 0
    assert "budget" not in json.loads(capsys.readouterr().out)


def test_a_whole_shape_that_its_budget_does_not_allow_is_told_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    resolved = read(tmp_path, f"{{{SHAPE}, budget: {{parameters: 10M}}}}")
    file = tmp_path / "budget.yaml"
    assert main(["plan", str(file)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"{file}:5: model.budget: in multiples of 8, no 'llama' with 16,000 entries has 10,000,000")
    with pytest.raises(InputError, match=re.escape(said.strip())):
        lmeff.make_plan(resolved)
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text("sweep: s\nrecipe: budget.yaml\naxes:\n  model.budget.parameters: [10M, 12M]\n")
    assert main(["plan", str(sweep)]) == 2
    assert capsys.readouterr().err.count(f"{sweep}:4: model.budget: in multiples of 8, no 'llama'") == 2


def test_a_run_plans_what_it_keeps(tmp_path: Path) -> None:
    recipe = solved(read(tmp_path, PUBLISHED)).recipe
    plan = make_plan(recipe)
    assert plan.budget is not None
    assert plan.budget.found.fields["hidden_size"] == 216
    assert plan.budget.alternatives == []
