"""Whatever family a model is of: its scores and its text are those of single plain passes, and its length is one number."""

import json
import math

import numpy as np
import pytest
import torch
from evaluation.families import BIDIRECTIONAL, DECODERS, decoder
from evaluation.small_models import write_pairs
from lm_eval.api.instance import Instance
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BartConfig,
    BertConfig,
    Gemma3Config,
    LongformerConfig,
    MptConfig,
    OPTConfig,
    RobertaConfig,
)

from lmeff.cli import main
from lmeff.errors import InputError
from lmeff.evaluation.scorer.language_model import LmeffLM
from lmeff.measures.finetuning.trial import longest
from lmeff.measures.generation.generate import Sampling, TextRequest, generate
from lmeff.measures.perplexity.losses import token_losses
from lmeff.measures.perplexity.text import HeldText
from lmeff.measures.perplexity.windows import strided_windows
from lmeff.measures.profile.profile import usable_lengths
from lmeff.models.context_length import context_length, longest_with_original_frequencies
from lmeff.recipe.sections.finetune import FinetuneSettings

LENGTHS = {
    **dict.fromkeys(DECODERS, 64),
    "phi-3, longrope": 128,
    "bloom": None,
    "mamba": None,
    "mamba-2": None,
    "recurrent gemma": None,
    "roberta as decoder": 61,  # positions begin at 3, behind that of the pad token
}
HARD = ("gpt2", "gptj", "gpt-neo", "opt", "mpt", "ctrl", "biogpt", "bert as decoder", "roberta as decoder")
"""Models in which one token more is an error."""


@pytest.fixture(scope="module")
def tokenizer(model_folder):
    return AutoTokenizer.from_pretrained(model_folder)


def log_probabilities(model, ids: list[int]) -> np.ndarray:
    """(tokens - 1,): of each token after the first, from one pass over this text alone."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids[:-1]])).logits[0].float()
    return logits.log_softmax(-1)[range(len(ids) - 1), ids[1:]].numpy()


def random_texts(lengths: list[int]) -> list[list[int]]:
    """Some begin alike, as sentences of pairs do; none holds a special token."""
    rng = np.random.default_rng(0)
    shared = rng.integers(3, 600, 200).tolist()
    return [shared[: size // 2] + rng.integers(3, 600, size - size // 2).tolist() for size in lengths]


@pytest.mark.parametrize("kind", DECODERS)
@pytest.mark.parametrize("exact", [False, True])
def test_scores_do_not_depend_on_what_else_is_in_the_batch(kind, exact, tokenizer):
    model = decoder(kind)
    longest = (LENGTHS[kind] or 64) + 1
    texts = random_texts([7, 12, 23, 9, longest, 31, 12, 40, 8, 24, 25])
    requests = [(("", ""), text[: 1 + index % 4], text[1 + index % 4 :]) for index, text in enumerate(texts)]
    ours = LmeffLM(model, tokenizer=tokenizer, batch_size=16, exact=exact)
    found = [value for value, _ in ours.answer_tokens(requests)]
    wanted = [log_probabilities(model, text)[index % 4 :].sum() for index, text in enumerate(texts)]
    assert np.allclose(found, wanted, rtol=1e-5, atol=1e-3)
    alone = [ours.answer_tokens([request])[0][0] for request in requests[::3]]
    assert np.allclose(alone, found[::3], rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("kind", DECODERS)
def test_losses_do_not_depend_on_what_else_is_in_the_batch(kind):
    model = decoder(kind)
    texts = random_texts([50, 7, 33, 64, 12, 90])
    lengths = np.array([len(text) for text in texts])
    text = HeldText(np.concatenate(texts), lengths, lengths, lengths, ("a",) * len(texts), has_end=True)
    windows = strided_windows(text, 40, 20)
    wanted = np.zeros(len(text.ids))
    for start, stop, first in zip(windows.starts, windows.stops, windows.firsts, strict=True):
        values = log_probabilities(model, text.ids[start:stop].tolist())
        wanted[first:stop] = -values[first - start - 1 :]
    for batch_size in (None, 1, 5):
        assert np.allclose(token_losses(model, windows, batch_size), wanted, rtol=1e-4, atol=1e-4)


PROMPTS = ("Anna", "who", "Boris sees the old doctors", "Elena helps Carla. Farid hides Dmitri")


@pytest.mark.parametrize("kind", DECODERS)
def test_text_is_written_as_plain_passes_would_write_it(kind, tokenizer):
    """Token by token from a pass over all before it, without cache, padding or given positions."""
    model = decoder(kind)
    model.config.use_cache = False
    answers = generate(
        model, tokenizer, [TextRequest(prompt, None) for prompt in PROMPTS], Sampling(10, 1.0, 1.0, 0), 4
    )
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        ids = [0, *tokenizer(prompt, add_special_tokens=False)["input_ids"]]
        written = []
        for step, (top, entropy) in enumerate(zip(answer.top_probabilities, answer.entropies, strict=True)):
            with torch.no_grad():
                probabilities = model(input_ids=torch.tensor([ids + written])).logits[0, -1].softmax(-1)
            assert top == pytest.approx(float(probabilities.max()), rel=1e-3, abs=1e-6)
            assert entropy == pytest.approx(
                float(-(probabilities * probabilities.clamp(min=1e-30).log()).sum()), rel=2e-3, abs=1e-4
            )
            token = int(probabilities.argmax())
            assert (token == 1) == (step == answer.num_tokens)
            written.append(token)
        assert len(written) == answer.num_tokens + (answer.finished == "eos")


@pytest.mark.parametrize("kind", ["llama", "rwkv", "recurrent gemma", "phi-3, longrope"])
def test_what_a_task_has_written_does_not_depend_on_the_batch(kind, tokenizer):
    model = decoder(kind)
    options = {"until": ["</s>"], "max_gen_toks": 8, "do_sample": False}
    asked = [
        Instance("generate_until", {}, (prompt, options), 0, metadata=("task", n, 1))
        for n, prompt in enumerate(PROMPTS)
    ]
    ours = LmeffLM(model, tokenizer=tokenizer, batch_size=4)
    together = ours.generate_until(asked, disable_tqdm=True)
    for request, found in zip(asked, together, strict=True):
        ids = tokenizer(request.args[0])["input_ids"]
        written = []
        with torch.no_grad():
            while len(written) < 8 and 1 not in written:
                written.append(int(model(input_ids=torch.tensor([ids + written])).logits[0, -1].argmax()))
        assert found == tokenizer.decode(written, skip_special_tokens=True)


def test_a_task_is_not_written_with_other_positions(tokenizer):
    asked = [Instance("generate_until", {}, ("Anna", {"max_gen_toks": 4}), 0, metadata=("task", 0, 1))]
    with pytest.raises(InputError, match="`generate` gives a RobertaForCausalLM other positions than a plain pass"):
        LmeffLM(decoder("roberta as decoder"), tokenizer=tokenizer).generate_until(asked, disable_tqdm=True)


@pytest.mark.parametrize("kind", DECODERS)
def test_the_length_of_a_model(kind):
    config = DECODERS[kind]
    before = torch.get_rng_state()
    length = context_length(config)
    assert length == LENGTHS[kind]
    assert torch.equal(torch.get_rng_state(), before)
    model = decoder(kind)
    with torch.no_grad():
        assert model(input_ids=torch.full((1, length or 200), 5)).logits.isfinite().all()
        if kind in HARD:
            with pytest.raises((IndexError, RuntimeError)):
                model(input_ids=torch.full((1, length + 1), 5))


SMALL = {"vocab_size": 300, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        (RobertaConfig(**SMALL, intermediate_size=16, max_position_embeddings=514), 512),
        (RobertaConfig(**SMALL, intermediate_size=16, max_position_embeddings=514, pad_token_id=63), 450),
        (RobertaConfig(**SMALL, intermediate_size=16, max_position_embeddings=514, pad_token_id=100), 413),
        (RobertaConfig(**SMALL, intermediate_size=16, max_position_embeddings=514, pad_token_id=299), 214),
        (BertConfig(**SMALL, intermediate_size=16, max_position_embeddings=512), 512),
        (OPTConfig(**SMALL, ffn_dim=16, max_position_embeddings=2048, word_embed_proj_dim=16), 2048),
        (MptConfig(vocab_size=300, d_model=16, n_layers=2, n_heads=2, max_seq_len=128), 128),
        (BIDIRECTIONAL["xlnet"], None),
        (LongformerConfig(**SMALL, intermediate_size=16, attention_window=8, max_position_embeddings=130), 128),
        (
            BartConfig(
                vocab_size=300, d_model=16, decoder_layers=2, decoder_attention_heads=2, is_encoder_decoder=False
            ),
            1024,
        ),
        (Gemma3Config(text_config={"max_position_embeddings": 777}), 777),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "model_type") else str(value),
)
def test_a_length_has_many_names(config, wanted):
    assert context_length(config) == wanted


def test_the_length_is_found_once(tokenizer, monkeypatch):
    ours = LmeffLM(decoder("gpt2"), tokenizer=tokenizer)
    found = ours.max_length
    monkeypatch.setattr(
        type(ours.config), "to_json_string", lambda *_, **__: pytest.fail("the configuration was read again")
    )
    assert ours.max_length == found


def test_a_model_without_a_limit_is_fine_tuned_with_the_length_that_is_wanted(tmp_path):
    BIDIRECTIONAL["xlnet"].save_pretrained(tmp_path)
    assert BIDIRECTIONAL["xlnet"].max_position_embeddings == -1
    assert longest(tmp_path, FinetuneSettings(max_length=100)) == 100


def test_other_frequencies_begin_where_the_configuration_says():
    assert longest_with_original_frequencies(DECODERS["phi-3, longrope"]) == 24
    assert longest_with_original_frequencies(DECODERS["llama"]) is None


def save(kind: str, folder, tokenizer) -> None:
    decoder(kind).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.mark.medium
@pytest.mark.parametrize(("kind", "length"), [("mpt", 64), ("roberta as decoder", 61), ("bloom", None)])
def test_every_verb_has_the_same_length(kind, length, tmp_path, tokenizer, capsys):
    folder = tmp_path / "model"
    save(kind, folder, tokenizer)
    long = "Anna sees the old doctors who thought about themselves. " * 20
    assert len(tokenizer(long)["input_ids"]) > 130
    model = LmeffLM(AutoModelForCausalLM.from_pretrained(folder), tokenizer=tokenizer)
    assert model.max_length == (length or 2048)
    assert longest(folder, FinetuneSettings(max_length=100)) == (length or 100)
    assert usable_lengths(model.model, (16, 100))[0] == ([16] if length else [16, 100])

    (tmp_path / "text.txt").write_text(long)
    options = ["--text", str(tmp_path / "text.txt"), "--output", str(tmp_path / "perplexity")]
    assert main(["perplexity", str(folder), *options]) == 0, capsys.readouterr()
    result = json.loads(next((tmp_path / "perplexity").rglob("perplexity_text.json")).read_text())
    assert result["lmeff"]["settings"]["length"] == (length or 2048)
    assert math.isfinite(result["results"]["perplexity_text"]["loss,none"])
    code = main(["perplexity", str(folder), *options, "--length", "62"])
    assert code == (2 if length == 61 else 0)
    assert ("takes 2 to 61" in capsys.readouterr().err) == (length == 61)

    (tmp_path / "prompts.txt").write_text("Anna sees\nBoris likes the old doctors\n")
    options = ["--prompts", str(tmp_path / "prompts.txt"), "--greedy", "--max-new-tokens", "90"]
    assert main(["generate", str(folder), *options, "--output", str(tmp_path / "texts")]) == 0
    texts = [
        json.loads(line) for line in next((tmp_path / "texts").rglob("generations.jsonl")).read_text().splitlines()
    ]
    for text in texts:
        room = (length or 1000) - 1 - len(tokenizer(text["prompt"], add_special_tokens=False)["input_ids"])
        assert text["finished"] == "eos" or text["num_tokens"] == min(90, room)

    pairs = [(f"Anna sees {name}. {long}", f"Anna see {name}. {long}") for name in ("Boris", "Carla")]
    write_pairs(tmp_path / "pairs" / "long.jsonl", pairs)
    options = ["--tasks", "lmeff_pairs", "--path", f"pairs={tmp_path / 'pairs'}", "--output", str(tmp_path / "eval")]
    code = main(["eval", str(folder), *options])
    said = capsys.readouterr().out
    assert code == (1 if length else 0), said
    assert (f"the model takes at most {length}" in said) == (length is not None)
