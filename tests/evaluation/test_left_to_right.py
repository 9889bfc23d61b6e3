"""Left to right: an XLNet through its masks, and decoders of every family as stock lm-eval has them."""

import copy

import pytest
import torch
from evaluation.masked_models import HYBRIDS, MASKED, OTHERS, loud_model, masking_tokenizer, save_masking
from evaluation.small_models import NAMES, VERBS
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import AutoModelForCausalLM

from lmeff.cli import main
from lmeff.errors import InputError
from lmeff.evaluation.harness import Evaluation
from lmeff.evaluation.scorer.language_model import LmeffLM
from lmeff.evaluation.scorer.masked.permutation_scorer import PermutationScorer, left_to_right_logits
from lmeff.evaluation.scorer.ways import way_of_folder
from lmeff.models.loading import load_language_model

START = 1
TEXTS = [
    ("", f"{NAMES[n % 6]} {VERBS[n % 7]} the old {'very ' * (n % 4)}{word} who thought.")
    for n in range(50)
    for word in ("doctors", "themselves")
]
WITH_CONTEXT = [("Anna sees the old", " doctors who thought."), ("Boris", " themselves")]


def asked(texts) -> list[Instance]:
    return [Instance("loglikelihood", {}, text, 0) for text in texts]


def literal(model, tokenizer, text: tuple[str, str]) -> float:
    """One target at a time, of a row that ends with it."""
    context, answer = text
    encoded = tokenizer(context + answer, add_special_tokens=False, return_offsets_mapping=True)
    ids, total = [START, *encoded["input_ids"]], 0.0
    for place, (_, stop) in enumerate(encoded["offset_mapping"], 1):
        if stop <= len(context):
            continue
        perm_mask = torch.zeros(1, place + 1, place + 1, dtype=torch.float64)
        for one in range(place + 1):
            for other in range(one, place + 1):
                perm_mask[0, one, other] = 1
        target = torch.zeros(1, 1, place + 1, dtype=torch.float64)
        target[0, 0, place] = 1
        with torch.no_grad():
            row = torch.tensor([[*ids[:place], 0]])  # whatever stands at the target itself
            logits = model(row, perm_mask=perm_mask, target_mapping=target).logits[0, 0]
        total += float(logits.log_softmax(-1)[ids[place]])
    return total


@pytest.mark.medium
def test_an_xlnet_predicts_each_token_from_those_before_it():
    model, tokenizer = loud_model(OTHERS["xlnet"]), masking_tokenizer(frames=False)
    texts = [*TEXTS, *WITH_CONTEXT]
    ours = LmeffLM(model, tokenizer=tokenizer, batch_size=7)
    assert ours.way.settings == {"scoring": "left_to_right_masks"}
    exact = copy.deepcopy(model).double()
    places = exact.transformer.relative_positional_encoding  # which makes them in float32
    exact.transformer.relative_positional_encoding = lambda *given, **more: places(*given, **more).double()
    expected = [literal(exact, tokenizer, text) for text in texts]
    assert [value for value, _ in ours.loglikelihood(asked(texts))] == pytest.approx(expected, abs=1e-4)
    whole = Instance("loglikelihood_rolling", {}, (TEXTS[0][1],), 0)
    assert ours.loglikelihood_rolling([whole], disable_tqdm=True) == pytest.approx(expected[:1], abs=1e-4)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_of_an_xlnet_does_not_matter(side):
    model = loud_model(OTHERS["xlnet"])
    torch.manual_seed(0)
    text = torch.randint(5, 300, (1, 9))
    places = torch.arange(1, 9)[None]
    padding = torch.randint(5, 300, (1, 4))
    for pad in (padding, padding.flip(-1)):
        parts, shift = ([pad, text], 4) if side == "left" else ([text, pad], 0)
        ids = torch.cat(parts, 1)
        is_text = torch.zeros_like(ids, dtype=torch.bool)
        is_text[:, shift : shift + 9] = True
        with torch.no_grad():
            alone = left_to_right_logits(model, text, torch.ones_like(text, dtype=torch.bool), places)
            padded = left_to_right_logits(model, ids, is_text, places + shift)
        assert torch.allclose(alone, padded, rtol=1e-5, atol=1e-5)


def test_an_xlnet_whose_masks_hide_nothing_is_told():
    model = loud_model(OTHERS["xlnet"])
    plain = model.forward
    model.forward = lambda *given, perm_mask, **more: plain(*given, perm_mask=0 * perm_mask, **more)
    with pytest.raises(InputError, match="sees tokens that its masks hide"):
        PermutationScorer(model, batch_size=None)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gptj", "mamba2"])
def test_decoders_are_scored_as_stock_lm_eval_does(kind):
    """Of Mamba-2, which cannot be given trees, by lm-eval's own code: no state of padding or of another text leaks."""
    model, tokenizer = loud_model({**HYBRIDS, **OTHERS}[kind]), masking_tokenizer(frames=False)
    texts = asked([*TEXTS, *WITH_CONTEXT])
    stock = HFLM(model, tokenizer=tokenizer, batch_size=16)
    expected = [value for value, _ in stock.loglikelihood(texts, disable_tqdm=True)]
    for batch_size in (16, "auto"):
        ours = LmeffLM(model, tokenizer=tokenizer, batch_size=batch_size, context_start="tokenizer")
        assert [value for value, _ in ours.loglikelihood(texts)] == pytest.approx(expected, abs=1e-4)
        assert ours._scorer.takes_trees == (kind != "mamba2")
    assert ours.way.settings == {}


# ---- folders and verbs


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    for name, config in {"xlnet": OTHERS["xlnet"], "bert": MASKED["bert"], "gptj": OTHERS["gptj"]}.items():
        save_masking(root / name, config, frames=False)
    return root


@pytest.mark.parametrize("kind", [*MASKED, *HYBRIDS, *OTHERS])
def test_a_model_is_loaded_as_what_it_was_saved(kind, tmp_path):
    config = {**MASKED, **HYBRIDS, **OTHERS}[kind]
    saved = save_masking(tmp_path, config)
    loaded = load_language_model(tmp_path)
    assert type(loaded) is type(saved)
    state = saved.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in loaded.state_dict().items())
    expected = {"xlnet": "left_to_right_masks"} | dict.fromkeys(MASKED, "pseudo_log_likelihood")
    assert way_of_folder(tmp_path, "auto").scoring == expected.get(kind, "causal")


@pytest.mark.medium
def test_an_xlnet_is_evaluated_and_says_how(folders, mini_blimp, tmp_path):
    task = "lmeff_blimp_adjunct_island"
    result = Evaluation(folders / "xlnet", (task,), tmp_path, {"blimp": str(mini_blimp)}).run()[task]
    assert result["lmeff"]["settings"]["scoring"] == "left_to_right_masks"
    assert LmeffLM(str(folders / "xlnet"), device="cpu").get_model_info()["scoring"] == "left_to_right_masks"


@pytest.mark.medium
@pytest.mark.parametrize("verb", ["perplexity", "generate"])
@pytest.mark.parametrize("kind", ["xlnet", "bert", "gptj"])
def test_text_is_measured_and_written_by_decoders_only(kind, verb, folders, tmp_path, capsys):
    (tmp_path / "text.txt").write_text("Anna sees the old doctors who thought about themselves.")
    more = (
        ["--text", str(tmp_path / "text.txt")] if verb == "perplexity" else ["--samples", "1", "--max-new-tokens", "3"]
    )
    code = main([verb, str(folders / kind), *more, "--output", str(tmp_path / "results")])
    said = "".join(capsys.readouterr())
    lines = [line for line in said.splitlines() if "later tokens change what" in line]
    assert (code, len(lines)) == ((0, 0) if kind == "gptj" else (1, 1)), said
    assert "Traceback" not in said
    assert not lines or not list((tmp_path / "results").rglob(f"{verb}*.json"))


def test_what_an_xlnet_cannot_is_one_line(folders):
    model = LmeffLM(str(folders / "xlnet"), device="cpu")
    with pytest.raises(InputError, match="no decoder"):
        model.generate_until([Instance("generate_until", {}, ("Anna", {"until": []}), 0)])
    assert isinstance(AutoModelForCausalLM.from_pretrained(folders / "xlnet"), type(model.model))
