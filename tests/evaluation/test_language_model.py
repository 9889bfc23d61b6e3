"""The fast model beside lm-eval's own `hf`: the same answers to any request, of many kinds of model."""

import re
import shutil

import numpy as np
import pytest
import torch
from evaluation.small_models import NAMES, VERBS
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from safetensors.torch import load_file, save_file
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertLMHeadModel,
    GPT2Config,
    GPTNeoConfig,
    GPTNeoXConfig,
    GraniteConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    NanoChatConfig,
    Qwen3Config,
)
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from lmeff.errors import InputError
from lmeff.evaluation.scorer.language_model import LmeffLM
from lmeff.evaluation.scorer.load import load_model
from lmeff.evaluation.scorer.text_scorer import TextScorer

SIZES = {"vocab_size": 600, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
SHAPE = {**SIZES, "intermediate_size": 64, "max_position_embeddings": 64, "initializer_range": 0.2}
CONFIGS = {
    "llama": LlamaConfig(**SHAPE),
    "llama, grouped heads": LlamaConfig(**SHAPE, num_key_value_heads=2, tie_word_embeddings=True),
    "qwen3": Qwen3Config(**SHAPE, num_key_value_heads=2, head_dim=8),
    "gpt2": GPT2Config(vocab_size=600, n_embd=32, n_layer=2, n_head=4, n_positions=64, initializer_range=0.2),
    "gpt-neox": GPTNeoXConfig(**SHAPE),
    # What follows is scored by lm-eval's own code.
    "mistral, window of 8": MistralConfig(**SHAPE, num_key_value_heads=2, sliding_window=8),
    "gpt-neo, window of 80": GPTNeoConfig(
        vocab_size=600,
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        attention_types=[[["global", "local"], 1]],
        window_size=80,
        max_position_embeddings=64,
    ),
    "granite, scaled logits": GraniteConfig(**SHAPE, logits_scaling=4.0),
    "mamba": MambaConfig(vocab_size=600, hidden_size=32, num_hidden_layers=2, state_size=4),
}
TREES = ("llama", "llama, grouped heads", "qwen3", "gpt2", "gpt-neox")


def instances(
    *arguments: tuple[str, str], task: str = "task", choices: int = 1, doc: dict | None = None
) -> list[Instance]:
    return [
        Instance("loglikelihood", doc or {}, pair, index % choices, metadata=(task, index // choices, 1))
        for index, pair in enumerate(arguments)
    ]


def all_kinds_of_requests() -> list[Instance]:
    """Sentences, choices after a shared context, single tokens, contexts that must be cut, texts difficult to divide."""
    sentences = [("", f"{name} {verb} the old doctors.") for name in NAMES for verb in VERBS]
    contexts = [f"{name} thought about themselves and" for name in NAMES]
    choices = [(context, f" {verb} {name}") for context in contexts for verb in VERBS[:3] for name in NAMES[:2]]
    letters = [(context, f" {letter}") for context in contexts for letter in "ABCD"]
    long = [("Anna sees the old doctors. " * 20 + name, f" {verb} the doctors") for name in NAMES for verb in VERBS[:2]]
    odd = [
        ("a context with spaces  ", "at its end"),
        ("Anna", "sees"),
        ("", " begins with a space"),
        ("", "é \U0001f600 ü"),
    ]
    odd += [("<s>Anna", " sees"), ("<s>", " Anna sees"), ("line\n", "\nbreak")]
    return [
        *instances(*sentences, task="sentences"),
        *instances(*choices, task="choices", choices=6),
        *instances(*letters, task="letters", choices=4),
        *instances(*long, task="long", choices=2),
        *instances(*odd, task="odd"),
    ]


def stock(model, tokenizer, **options) -> HFLM:
    """Without its cache for last tokens, which gives wrong answers where texts are divided differently into the same tokens."""
    options = {"batch_size": 8, "softmax_dtype": "float32", "logits_cache": False, **options}
    return HFLM(pretrained=model, tokenizer=tokenizer, **options)


@pytest.fixture(scope="module")
def tokenizer(model_folder):
    return AutoTokenizer.from_pretrained(model_folder)


@pytest.mark.parametrize("kind", CONFIGS)
def test_answers_are_those_of_lm_eval(kind, tokenizer):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIGS[kind]).eval()
    asked = all_kinds_of_requests()
    expected = stock(model, tokenizer).loglikelihood(asked, disable_tqdm=True)
    ours = LmeffLM(model, tokenizer=tokenizer, batch_size=16)
    found = ours.loglikelihood(asked)
    assert ours._scorer.takes_trees == (kind in TREES)
    assert np.allclose([value for value, _ in found], [value for value, _ in expected], rtol=0, atol=1e-4)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]


def test_exact_is_lm_eval_bit_for_bit(model_folder, tokenizer):
    ours = load_model(model_folder, "cpu", batch_size=8, progress=False, exact=True)
    asked = all_kinds_of_requests()
    theirs = stock(ours.model, tokenizer, logits_cache=True)
    assert ours.loglikelihood(asked, disable_tqdm=True) == theirs.loglikelihood(asked, disable_tqdm=True)


def test_greedy_continuations_are_recognized(model_folder, tokenizer):
    """What the model itself would say, and the same with another last word."""
    ours = load_model(model_folder, "cpu", batch_size=8, progress=False)
    start = tokenizer("Anna sees")["input_ids"]
    said = ours.model.generate(torch.tensor([start]), do_sample=False, max_new_tokens=4, eos_token_id=None)[
        0, len(start) :
    ]
    requests = [(("", ""), start, said.tolist()), (("", ""), start, [*said[:-1].tolist(), (int(said[-1]) + 1) % 600])]
    assert [greedy for _, greedy in ours.answer_tokens(requests)] == [True, False]
    assert [
        greedy for _, greedy in stock(ours.model, tokenizer)._loglikelihood_tokens(requests, disable_tqdm=True)
    ] == [
        True,
        False,
    ]


def test_a_constant_model_is_greedy_for_the_first_token_only(model_folder):
    ours = load_model(model_folder, "cpu", batch_size=8, progress=False)
    ours.model.lm_head.weight.data.zero_()
    found = ours.answer_tokens([(("", ""), [0], [0, 0]), (("", ""), [0], [0, 1]), (("", ""), [0], [5, 7])])
    assert [greedy for _, greedy in found] == [True, False, False]
    assert found[0][0] == found[1][0] == found[2][0] == pytest.approx(-2 * np.log(600), abs=1e-5)


@pytest.mark.parametrize("add_bos_token", [None, True, False])
@pytest.mark.parametrize("context_start", ["bos", "tokenizer"])
def test_tokens_are_those_of_lm_eval_for_a_tokenizer_that_adds_bos(
    model_folder, tokenizer, add_bos_token, context_start
):
    if add_bos_token is not None and (context_start == "bos") != add_bos_token:
        return  # refused
    model = AutoModelForCausalLM.from_pretrained(model_folder)
    ours = LmeffLM(model, tokenizer=tokenizer, add_bos_token=add_bos_token, context_start=context_start)
    theirs = HFLM(pretrained=model, tokenizer=tokenizer, add_bos_token=add_bos_token)
    seen = []
    theirs._loglikelihood_tokens = lambda requests, **_: seen.extend(requests) or []
    theirs.loglikelihood(all_kinds_of_requests(), disable_tqdm=True)
    assert ours.token_requests(all_kinds_of_requests()) == seen


def test_rolling_log_likelihoods_are_those_of_lm_eval(model_folder, tokenizer):
    """Told to add no second BOS, which it would score after the first."""
    texts = ["Anna sees the old doctors.", "Boris hears Carla and Elena. " * 40]
    asked = [Instance("loglikelihood_rolling", {}, (text,), 0, metadata=("task", i, 1)) for i, text in enumerate(texts)]
    ours = load_model(model_folder, "cpu", progress=False)
    expected = stock(ours.model, tokenizer, add_bos_token=False).loglikelihood_rolling(asked, disable_tqdm=True)
    assert ours.loglikelihood_rolling(asked, disable_tqdm=True) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("batch_size", [1, 7, 512])
def test_choices_do_not_depend_on_the_batch_size(model_folder, batch_size):
    asked = all_kinds_of_requests()
    expected = [value for value, _ in load_model(model_folder, "cpu", progress=False).loglikelihood(asked)]
    model = load_model(model_folder, "cpu", batch_size=batch_size, progress=False)
    found = [value for value, _ in model.loglikelihood(asked)]
    assert np.allclose(found, expected, rtol=0, atol=1e-4)
    for first in range(0, 42, 2):
        assert (found[first] > found[first + 1]) == (expected[first] > expected[first + 1])


def test_a_task_scores_the_same_whatever_else_is_asked(model_folder):
    model = load_model(model_folder, "cpu", progress=False)
    asked = all_kinds_of_requests()
    together = dict(zip(map(id, asked), model.loglikelihood(asked), strict=True))
    alone = [one for one in asked if one.task_name == "choices"]
    assert model.loglikelihood(alone) == [together[id(one)] for one in alone]


WORDS = [*NAMES, *VERBS, "the", "old", "doctors", "who", "thought", "about", "themselves"]


def random_lines(count: int, longest: int) -> list[str]:
    generator = np.random.default_rng(1)
    return [" ".join(generator.choice(WORDS, generator.integers(1, longest + 1))) for _ in range(count)]


def neighbors(model, count: int) -> list[Instance]:
    """Pairs, half of them of sentences whose log-probabilities are next to each other, which bfloat16 confuses."""
    lines = [("", f" {line}") for line in random_lines(count, 9)]
    order = np.argsort([value for value, _ in model.loglikelihood(instances(*lines))])
    near, far = order[: count // 2], order[count // 2 :].reshape(2, -1).T.ravel()
    doc = {"task": "pairs", "pair": 0, "sentence_good": "", "sentence_bad": ""}
    return instances(*(lines[at] for at in [*near, *far]), task="pairs", choices=2, doc=doc)


def test_adaptive_orders_of_pairs_are_those_of_float32(model_folder, monkeypatch):
    exact = load_model(model_folder, "cpu", progress=False)
    adaptive = load_model(model_folder, "cpu", progress=False, precision="adaptive")
    asked = neighbors(exact, 480)
    wanted, found = exact.loglikelihood(asked), adaptive.loglikelihood(asked)
    monkeypatch.setattr(TextScorer, "float32", adaptive._scorer.bfloat16(len(asked)))
    values = np.array([[value for value, _ in answers] for answers in (wanted, found, exact.loglikelihood(asked))])
    margins = values[:, ::2] - values[:, 1::2]
    assert ((margins[1] > 0) == (margins[0] > 0)).all()
    assert ((margins[2] > 0) != (margins[0] > 0)).any()
    adapted = adaptive.adapted["pairs"]
    assert 0.3 < adapted.in_float32.mean() < 0.95
    assert adapted.error_bound == pytest.approx(
        2 * np.abs(margins[2] - margins[0])[adapted.in_float32[::2]].max(), rel=0.01
    )
    assert (np.abs(margins[2])[~adapted.in_float32[::2]] > adapted.error_bound).all()
    assert np.allclose(values[1, adapted.in_float32], values[0, adapted.in_float32], rtol=0, atol=1e-4)
    assert (values[1, ~adapted.in_float32] != values[0, ~adapted.in_float32]).any()


def rolled(model: LmeffLM) -> list[float]:
    asked = [Instance("loglikelihood_rolling", {}, (line,), 0) for line in random_lines(5, 9)]
    return model.loglikelihood_rolling(asked, disable_tqdm=True)


@pytest.mark.parametrize("precision", ["float32", "adaptive"])
@pytest.mark.parametrize("kind", ["choices", "rolling"])
def test_a_model_that_was_changed_is_scored_as_it_is_now(model_folder, precision, kind):
    model = load_model(model_folder, "cpu", progress=False, precision=precision)
    asked = neighbors(model, 240)
    score = rolled if kind == "rolling" else lambda model: model.loglikelihood(asked)
    before = score(model)
    weight = model.model.base_model.layers[-1].mlp.down_proj.weight
    weight.data[[0, 1]] = weight.data[[1, 0]]  # neither the sum nor autograd's count of changes is another
    again = score(model)
    assert again == score(LmeffLM(model.model, tokenizer=model.tokenizer, precision=precision))
    assert again != before


def test_tasks_that_use_more_than_the_order_are_not_left_to_bfloat16(model_folder):
    """Choices that lm-eval may divide by lengths, differences that are correlated, single texts; pairs of other tasks, such
    as TurBLiMP's, which have an accuracy of their log-probabilities by length."""
    exact = load_model(model_folder, "cpu", progress=False)
    adaptive = load_model(model_folder, "cpu", progress=False, precision="adaptive")
    pairs = [("", line) for line in random_lines(80, 9)]
    foreign = instances(*pairs, task="turblimp", choices=2, doc={"sentence_good": "", "sentence_bad": ""})
    asked = [*all_kinds_of_requests(), *foreign]
    assert adaptive.loglikelihood(asked) == exact.loglikelihood(asked)
    assert adaptive.adapted == {}


@pytest.mark.parametrize("options", [{}, {"exact": True}, {"precision": "adaptive"}], ids=str)
def test_what_is_not_finite_is_an_error_for_any_task(model_folder, options):
    """numpy's argmax takes NaN for the largest, so lm-eval's own tasks would call such a model perfect."""
    model = load_model(model_folder, "cpu", progress=False, **options)
    model.model.lm_head.weight.data.fill_(float("nan"))
    for doc in ({}, {"sentence_good": ""}):
        asked = instances(*(("", line) for line in random_lines(8, 5)), choices=2, doc=doc)
        with pytest.raises(ValueError, match=r"task, (document|pair) 0: a log-probability is nan"):
            model.loglikelihood(asked)
    text = Instance("loglikelihood_rolling", {}, ("Anna sees Boris.",), 0, metadata=("task", 3, 1))
    with pytest.raises(ValueError, match="task, document 3: a log-probability is nan"):
        model.loglikelihood_rolling([text], disable_tqdm=True)


def test_weights_that_lack_parameters_are_no_model(model_folder, tmp_path):
    """transformers fills what is missing at random and goes on."""
    shutil.copytree(model_folder, tmp_path / "model")
    weights = load_file(tmp_path / "model" / "model.safetensors")
    names = sorted(name for name in weights if "mlp" in name)
    kept = {name: value for name, value in weights.items() if name not in names}
    save_file(kept, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=f"its weights lack {re.escape(names[0])} and {len(names) - 1} more"):
        load_model(tmp_path / "model", "cpu", progress=False)


def test_a_masked_model_is_not_scored_as_a_causal_one(tokenizer, tmp_path):
    sizes = {**SIZES, "intermediate_size": 64, "max_position_embeddings": 64}
    BertForMaskedLM(BertConfig(**sizes)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="no decoder"):
        load_model(tmp_path, "cpu", progress=False)
    BertLMHeadModel(BertConfig(**sizes, is_decoder=True)).save_pretrained(tmp_path)
    assert load_model(tmp_path, "cpu", progress=False).model.config.is_decoder


def test_a_tokenizer_of_another_model_is_told_before_a_gpu_fails(tokenizer, tmp_path):
    AutoModelForCausalLM.from_config(LlamaConfig(**{**SHAPE, "vocab_size": 300})).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    told = r"the tokenizer gives token \d+; the model has embeddings of 300 tokens"
    with pytest.raises(InputError, match=told):
        load_model(tmp_path, "cpu", progress=False)
    for options in ({}, {"exact": True}):  # as lm-eval's own command line loads it
        model = LmeffLM(str(tmp_path), device="cpu", **options)
        with pytest.raises(InputError, match=told):
            model.loglikelihood(instances(("", "Anna sees the old doctors who thought about themselves.")))


def test_trees_are_decided_for_each_model_and_not_for_its_configuration(tokenizer):
    """NanoChat's logits go through a tanh, which leaves the small ones of fresh weights nearly as they are."""
    torch.manual_seed(0)
    config = NanoChatConfig(**{**SHAPE, "initializer_range": 1e-4}, num_key_value_heads=4)
    fresh, trained = (AutoModelForCausalLM.from_config(config).eval() for _ in range(2))
    trained.lm_head.weight.data *= 1e6
    asked = all_kinds_of_requests()
    for model, takes_trees in ((fresh, True), (trained, False)):
        ours = LmeffLM(model, tokenizer=tokenizer, batch_size=16)
        found = ours.loglikelihood(asked)
        assert ours._scorer.takes_trees == takes_trees
        expected = stock(model, tokenizer).loglikelihood(asked, disable_tqdm=True)
        assert np.allclose([value for value, _ in found], [value for value, _ in expected], rtol=1e-5, atol=1e-3)


def test_weights_that_show_nothing_decide_nothing_for_others(tokenizer):
    """The first model of a configuration may have a head of zeros, for which scaled logits are like others."""
    torch.manual_seed(0)
    first, second = (AutoModelForCausalLM.from_config(GraniteConfig(**SHAPE, logits_scaling=3.5)) for _ in range(2))
    first.lm_head.weight.data.zero_()
    asked = instances(*(("", line) for line in random_lines(6, 9)))
    for model in (first, second):
        expected = stock(model, tokenizer).loglikelihood(asked, disable_tqdm=True)
        found = LmeffLM(model, tokenizer=tokenizer).loglikelihood(asked)
        assert np.allclose([value for value, _ in found], [value for value, _ in expected], rtol=0, atol=1e-4)


def test_a_batch_of_lm_evals_own_code_is_halved_where_memory_is_short(model_folder, monkeypatch):
    sizes = []
    score = HFLM._loglikelihood_tokens

    def short(self, requests, **options):
        sizes.append(self.batch_size)
        if self.batch_size > 16:
            raise torch.OutOfMemoryError
        return score(self, requests, **options)

    asked = instances(*(("", line) for line in random_lines(40, 5)))
    expected = load_model(model_folder, "cpu", progress=False, exact=True).loglikelihood(asked)
    monkeypatch.setattr(HFLM, "_loglikelihood_tokens", short)
    model = load_model(model_folder, "cpu", progress=False, exact=True)
    found = model.loglikelihood(asked)
    assert np.allclose([value for value, _ in found], [value for value, _ in expected], rtol=0, atol=1e-4)
    assert sizes == [64, 32, 16]
    with pytest.raises(torch.OutOfMemoryError):
        load_model(model_folder, "cpu", batch_size=64, progress=False, exact=True).loglikelihood(asked)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"precision": "bfloat16"}, "float32 or adaptive"),
        ({"precision": "adaptive", "exact": True}, "without precision=adaptive"),
        ({"trust_remote_code": 1}, "runs no code"),
    ],
)
def test_wrong_arguments_are_told(model_folder, arguments, message):
    with pytest.raises(InputError, match=message):
        LmeffLM(str(model_folder), device="cpu", **arguments)


@pytest.mark.parametrize(("text", "message"), [("", "empty"), ("<s>", "has no tokens")])
def test_a_text_without_tokens_is_told(model_folder, text, message):
    with pytest.raises(InputError, match=message):
        load_model(model_folder, "cpu", progress=False).loglikelihood(instances(("", text)))
