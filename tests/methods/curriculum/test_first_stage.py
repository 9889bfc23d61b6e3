"""What the first stage of a recipe reads, beside a literal choice by the words of the text."""

from pathlib import Path

import numpy as np
import pytest
from methods.distillation.small import recipe_of, small_tokens, write_small
from tokenizers import Tokenizer

from lmeff.methods import methods_of
from lmeff.tokens import PermutationOrder, Tokens

WORDS = ("curriculum.protocol=iterative", "curriculum.order=sentence_length", "curriculum.start=0.7")
HARDEST = "curriculum.hardest_first=true"
BY_RANK = "curriculum.faults=[text_by_rank]"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small(tmp_path_factory.mktemp("first"))


def ids_of_documents(tokens: Tokens) -> list[list[int]]:
    ends = np.asarray(tokens.train_documents[:, 0]).cumsum()
    return [tokens.train.slice(int(begin), int(end)).tolist() for begin, end in zip([0, *ends], ends, strict=False)]


@pytest.mark.medium
@pytest.mark.parametrize("hardest_first", [False, True])
@pytest.mark.parametrize("by_rank", [False, True])
def test_a_stage_reads_its_documents_in_its_order(path: Path, hardest_first: bool, by_rank: bool) -> None:
    """Sentences about red apples and small boats have a word more than the others."""
    recipe = recipe_of(path, *WORDS, *[HARDEST] * hardest_first, *[BY_RANK] * by_rank)
    tokens = small_tokens(path)
    (method,) = methods_of(recipe, tokens)
    order = method.wrap_order(PermutationOrder(tokens.train.num_tokens // 32, recipe.seed, recipe.batch.clock))
    documents = ids_of_documents(tokens)
    texts = Tokenizer.from_file(str(tokens.tokenizer_folder / "tokenizer.json")).decode_batch(documents)
    is_long = ["red apples" in text or "small boats" in text for text in texts]
    assert 0.4 < np.mean(is_long) < 0.6
    ranked = [one for kind in (hardest_first, not hardest_first) for one, long in enumerate(is_long) if long == kind]
    chosen, wanted = [], 0.7 * tokens.train.num_tokens
    while sum(len(documents[one]) for one in chosen) < wanted:
        chosen.append(ranked[len(chosen)])
    assert chosen != sorted(chosen), "or the order of the text would not matter"
    excerpt = order.excerpt(0)
    assert excerpt is not None
    assert excerpt.documents.tolist() == (chosen if by_rank else sorted(chosen))
    text = [token for one in excerpt.documents for token in documents[one]]
    assert excerpt.train.slice(0, len(text) + 1).tolist() == text
