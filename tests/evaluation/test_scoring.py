"""The scoring rules, on numbers and on real models through real lm-eval."""

import math

import pytest
import torch
from evaluation.evaluating import evaluate_model
from evaluation.small_models import altered, save_model, write_pairs
from lm_eval.api.instance import Instance

from lmeff.errors import InputError
from lmeff.evaluation.scorer.load import load_model
from lmeff.evaluation.scoring import pair_score


def test_a_tie_is_a_half_and_a_number_that_is_none_an_error():
    assert pair_score(-3.0, -4.0) == 1
    assert pair_score(-4.0, -3.0) == 0
    assert pair_score(-4.0, -4.0) == 0.5
    for broken in (math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match="not finite"):
            pair_score(broken, -1.0)
        with pytest.raises(ValueError, match="not finite"):
            pair_score(-1.0, broken)


def test_a_model_with_constant_logits_is_right_half_of_the_time(model_folder, tmp_path):
    """F23: sentences of equally many tokens tie; lm-eval's own rule would call such a model perfect."""
    blimp = tmp_path / "blimp"
    write_pairs(blimp / "wh_island.jsonl", [("Anna sees Boris.", "Anna hears Boris."), ("Anna finds Elena.",) * 2])
    (tmp_path / "model").mkdir()
    model = altered(model_folder, tmp_path / "model", lambda model: model.lm_head.weight.zero_())
    result = evaluate_model(model, ["lmeff_blimp_wh_island"], tmp_path / "out", paths={"blimp": str(blimp)})
    scores = result["lmeff_blimp_wh_island"]["results"]["lmeff_blimp_wh_island"]
    assert scores["acc,none"] == 0.5
    assert scores["ties,none"] == 1.0
    assert result["lmeff_blimp_wh_island"]["lmeff"]["num_ties"] == 2


def test_a_model_that_computes_nan_is_an_error_naming_task_and_pair(model_folder, mini_blimp, tmp_path):
    model = altered(model_folder, tmp_path, lambda model: model.lm_head.weight.fill_(math.nan))
    with pytest.raises(ValueError, match=r"lmeff_blimp_wh_island, pair 0: .*nan"):
        evaluate_model(model, ["lmeff_blimp_wh_island"], tmp_path / "out", paths={"blimp": str(mini_blimp)})
    assert not (tmp_path / "out" / "lmeff_blimp_wh_island.json").exists()


def requests(*texts: str) -> list[Instance]:
    return [
        Instance(request_type="loglikelihood", doc={}, arguments=("", text), idx=index, metadata=("task", 0, 1))
        for index, text in enumerate(texts)
    ]


def inputs_of(model, text: str) -> tuple[list[int], float]:
    """What the network really gets for a sentence, and the answer."""
    seen = []
    embeddings = model.model.get_input_embeddings()
    with embeddings.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])):
        ((log_probability, _),) = model.loglikelihood(requests(text))
    *_, inputs = seen  # after what shows whether the model takes trees
    return inputs[0].tolist(), log_probability


@pytest.mark.parametrize("exact", [False, True])
def test_a_sentence_is_scored_after_exactly_one_bos(model_folder, exact):
    model = load_model(model_folder, "cpu", batch_size=4, progress=False, exact=exact)
    text = "Anna sees Boris."
    tokens = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    inputs, log_probability = inputs_of(model, text)
    assert inputs == [model.tokenizer.bos_token_id, *tokens[:-1]]
    with torch.no_grad():
        logits = model.model(torch.tensor([inputs])).logits[0].double()
    expected = logits.log_softmax(-1)[range(len(tokens)), tokens].sum().item()
    assert log_probability == pytest.approx(expected, abs=1e-4)


def test_the_delimiter_makes_no_difference_to_our_tokenizers(model_folder):
    ours = load_model(model_folder, "cpu", batch_size=4, progress=False)
    bare, spaced = ours.loglikelihood(requests("Anna sees Boris.", " Anna sees Boris."))
    assert bare == spaced
    assert ours.tok_encode("Anna", add_special_tokens=False) == ours.tok_encode(" Anna", add_special_tokens=False)


def test_a_sentence_longer_than_the_model_takes_is_told(tmp_path):
    save_model(tmp_path, max_position_embeddings=8)
    model = load_model(tmp_path, "cpu", batch_size=4, progress=False)
    with pytest.raises(InputError, match="tokens; the model takes at most 8"):
        model.loglikelihood(requests("Anna sees the old doctors who thought about themselves and Boris and Elena."))
