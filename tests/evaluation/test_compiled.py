"""Compiled layers: the same scores, made once for all sizes and models, and none where nothing can be compiled."""

import copy

import numpy as np
import pytest
import torch
from evaluation.small_models import CONFIGS, LLAMA, save_model, write_pairs
from torch import compiler
from torch._dynamo.utils import counters
from transformers import (
    AutoModelForCausalLM,
    CTRLConfig,
    CTRLLMHeadModel,
    LlamaConfig,
)

from lmeff.evaluation.harness import Evaluation
from lmeff.evaluation.scorer.trees import compiled
from lmeff.evaluation.scorer.trees.compiled import CompiledScorer, compiled_scorer, is_worth_compiling
from lmeff.evaluation.scorer.trees.prefix_tree import lay_out
from lmeff.evaluation.scorer.trees.tree_scorer import TreeScorer


@pytest.fixture
def little_memory(monkeypatch):
    """Room for the attention of two long rows at once."""
    monkeypatch.setattr(compiled, "_ATTENTION_SCORES", 2 * 64 * 64)


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder).eval()


def requests(num_texts: int, length: int, vocab_size: int = 600) -> list:
    texts = np.random.default_rng(length).integers(0, vocab_size, (num_texts, length)).tolist()
    return [(text[:-1], text[1:]) for text in texts]


def values(scorer: TreeScorer, layout) -> np.ndarray:
    return np.array([value for value, _ in scorer.score(layout)])


@pytest.mark.medium
@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.usefixtures("little_memory")
def test_compiled_scores_err_no_more_than_bfloat16s_and_are_compiled_once(kind):
    sizes = [lay_out(requests(*size), 128) for size in ((1, 3), (3, 9), (200, 7), (129, 30), (2, 60))]
    compiler.reset()
    counters.clear()
    for seed in (0, 1):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(CONFIGS[kind]).eval()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        plain, exact = TreeScorer(copy.deepcopy(model).bfloat16()), TreeScorer(model)
        scorer = compiled_scorer(model)
        assert counters["stats"]["unique_graphs"] == 2  # of a layer, and of the logits
        wanted, found, rough = (
            np.concatenate([values(one, layout) for layout in sizes]) for one in (exact, scorer, plain)
        )
        assert 0 < np.abs(found - wanted).mean() < 1.5 * np.abs(rough - wanted).mean()
        assert np.abs(found - wanted).max() < 2 * np.abs(rough - wanted).max()
        assert counters["stats"]["unique_graphs"] == 2
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("kind", CONFIGS)
def test_logits_of_scored_tokens_are_float32s(kind):
    """Of the head only the sum over all tokens is left to bfloat16, where its errors cancel."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIGS[kind]).eval()
    states, tokens = torch.randn(30, 48), torch.randint(0, 600, (30,))
    with torch.no_grad():
        exact = model.get_output_embeddings()(states)
        found = CompiledScorer(model)._wanted(states, exact.bfloat16(), torch.arange(30), tokens)
    assert torch.allclose(found, exact[range(30), tokens], rtol=1e-5, atol=1e-5)


@pytest.mark.medium
def test_many_sizes_in_one_process_are_all_compiled():
    """Torch keeps several versions of a layer, and beyond these would compile no more of them, without a word."""
    compiler.reset()
    with torch._dynamo.config.patch(recompile_limit=1):
        for more in ({}, {"intermediate_size": 40}):  # the first one's code is there from the tests above
            model = AutoModelForCausalLM.from_config(LlamaConfig(**LLAMA | more)).eval()
            counters.clear()
            assert compiled_scorer(model) is not None
            assert counters["stats"]["unique_graphs"] == 2


def test_a_model_that_names_no_layers_is_not_compiled():
    model = CTRLLMHeadModel(CTRLConfig(vocab_size=600, n_embd=32, n_layer=1, n_head=2, dff=32)).eval()
    assert not model._no_split_modules
    assert compiled_scorer(model) is None


@pytest.mark.medium
def test_without_a_compiler_the_model_is_as_it_was(tmp_path, monkeypatch, caplog):
    save_model(tmp_path / "model", hidden_size=48)
    model, layout = load(tmp_path / "model"), lay_out(requests(80, 12), 64)
    wanted = values(TreeScorer(model), layout)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    compiler.reset()
    with torch._inductor.config.patch({"cpp.cxx": ("/nowhere/g++",)}):
        assert compiled_scorer(model) is None
        assert compiled_scorer(model) is None
    (record,) = [record for record in caplog.records if record.name == "lmeff.evaluation.scorer.trees.compiled"]
    assert "/nowhere/g++" in record.getMessage()
    assert (values(TreeScorer(model), layout) == wanted).all()


def test_only_much_work_on_a_cpu_is_compiled(model_folder):
    model = load(model_folder)
    enough = int(1e12 / model.num_parameters()) + 1
    assert is_worth_compiling(model, enough)
    assert not is_worth_compiling(model, enough - 2)
    assert not is_worth_compiling(model.to("meta"), enough)


@pytest.mark.medium
def test_a_share_and_the_rest_are_compiled_if_the_whole_is(tmp_path, monkeypatch):
    """Else a run that goes on would give other log-probabilities than one that was not killed."""
    save_model(tmp_path / "model", hidden_size=64)
    rows = np.random.default_rng(0).choice(["Anna sees", "the doctor", "hides", "old", "of Carla"], (2, 2, 150, 5))
    for name, pairs in zip(("ellipsis_n_bar_1", "ellipsis_n_bar_2"), rows, strict=True):
        good, bad = ([" ".join(words) + "." for words in side] for side in pairs)
        write_pairs(tmp_path / "blimp" / f"{name}.jsonl", list(zip(good, bad, strict=True)))
    paths, task = {"blimp": str(tmp_path / "blimp")}, "lmeff_blimp_ellipsis"

    def score(name: str, num_shares: int = 1) -> bytes:
        output = tmp_path / name / "model"
        evaluation = Evaluation(tmp_path / "model", (task,), output, paths, precision="adaptive")
        evaluation.score(0, num_shares)
        about = evaluation.run()[task]["lmeff"]
        assert 0.2 < about["share_in_float32"] < 0.9
        assert about["num_compiled"] == (0 if name == "plain" else 2)
        return (output / "pairs" / f"{task}.parquet").read_bytes()

    plain = score("plain")
    monkeypatch.setattr(compiled, "_WORTH_IT", 600 * load(tmp_path / "model").num_parameters())
    whole = score("whole")
    assert whole == score("in_two", num_shares=2)
    assert whole != plain
