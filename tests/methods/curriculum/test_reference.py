"""Which models may say how hard documents are; more than may teach."""

import re
from pathlib import Path

import pytest
from methods.distillation.small import recipe_of, save_teacher, small_tokens, write_small

from lmeff.errors import InputError
from lmeff.methods import check_methods, methods_of

MAMBA = "{family: mamba2, hidden_size: 16, num_hidden_layers: 1, head_dim: 8, state_size: 8}"
BERT = "{family: bert, hidden_size: 16, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2}"
HYBRID = "objective.name=hybrid"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_small(tmp_path_factory.mktemp("references"))
    for name, model in (("mamba2", MAMBA), ("bert", BERT)):
        family = path.with_name(f"{name}.yaml")
        family.write_text(re.sub(r"model: \{.*\}", f"model: {model}", path.read_text()))
        save_teacher(path.with_name(name), family)
    save_teacher(path.with_name("llama"), path)
    save_teacher(path.with_name("hybrid"), path, HYBRID)
    return path


def start(path: Path, reference: str, *words: str) -> None:
    """What a run does of it before it trains."""
    asks = ("curriculum.protocol=iterative", "curriculum.order=reference_loss", "curriculum.pacing=share")
    recipe = recipe_of(path, *asks, f"curriculum.reference={path.with_name(reference)}", *words)
    check_methods(recipe)
    methods_of(recipe, small_tokens(path))


@pytest.mark.medium
@pytest.mark.parametrize("words", [(), (HYBRID,), ("batch.document_mask=true",)])
def test_whatever_predicts_the_next_token_may_be_asked(path: Path, words: tuple[str, ...]) -> None:
    """Documents are read alone, so that it matters neither what sees what in training, nor who has `<mask>`."""
    for reference in ("llama", "hybrid", "mamba2"):
        start(path, reference, *words)


@pytest.mark.medium
@pytest.mark.parametrize(
    ("reference", "words", "line"),
    [
        ("bert", (), "a bert does not predict the next token, and documents are scored by that"),
        (
            "llama",
            ("batch.sequence_length=64", "batch.tokens=256"),
            "it takes 32 tokens, and batch.sequence_length is 64",
        ),
        (
            "llama",
            ("tokenizer.vocab_size=310",),
            "it has 320 entries, and the tokenizer 310: it has another tokenizer",
        ),
        ("data", (), "no model folder with a config.json and weights"),
    ],
)
def test_what_cannot_be_asked_is_one_line(path: Path, reference: str, words: tuple[str, ...], line: str) -> None:
    with pytest.raises(InputError) as error:
        start(path, reference, *words)
    assert str(error.value) == f"curriculum.reference: {path.with_name(reference)}: {line}"
