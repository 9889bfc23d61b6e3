"""How a classifier reads its examples: whole, and each as if it were alone, whatever family it is of."""

import json

import numpy as np
import pytest
import torch
from evaluation.families import BIDIRECTIONAL, DECODERS
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertLMHeadModel
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

from lmeff.cli import main
from lmeff.measures.finetuning.encoding import Collator
from lmeff.measures.finetuning.pooling import LastTokenClassifier, find_pooling

PAD = 2
KINDS = {
    name: config
    for name, config in {**DECODERS, **BIDIRECTIONAL}.items()
    if type(config) in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_example_is_read_whole_and_as_if_it_were_alone(kind):
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(KINDS[kind]).eval()
    before = torch.get_rng_state()
    classifier = find_pooling(model, PAD)
    model, side = classifier.module, classifier.side
    if not isinstance(model, LastTokenClassifier):
        assert torch.equal(torch.get_rng_state(), before)
    model.eval()
    with torch.no_grad():
        for parameter in model.parameters():  # so large that each part of it shows
            parameter += 0.1 * torch.randn_like(parameter)
    rng = np.random.default_rng(0)
    examples = [{"input_ids": rng.integers(3, 600, size).tolist(), "labels": 0} for size in (9, 4, 17, 12)]

    def answers(*chosen) -> torch.Tensor:
        batch = Collator(PAD, side)(chosen)
        with torch.no_grad():
            return model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits

    alone = torch.cat([answers(example) for example in examples])
    assert alone.std(dim=0).min() > 1e-4
    for rows in ([0, 1, 2, 3], [1, 2], [3, 1, 0]):
        together = answers(*(examples[row] for row in rows))
        torch.testing.assert_close(together, alone[rows], rtol=1e-4, atol=2e-5)
    for place in (0, 4, -1):  # every token has a say
        other = {**examples[0], "input_ids": list(examples[0]["input_ids"])}
        other["input_ids"][place] = 599
        assert (answers(other) - alone[0]).abs().max() > 1e-3


@pytest.mark.medium
def test_a_bert_that_is_a_decoder_learns_what_only_its_last_token_can_know(tmp_path, model_folder, capsys):
    """By its first token, which sees nothing, it would answer all examples alike and stay at chance."""
    torch.manual_seed(0)
    BertLMHeadModel(DECODERS["bert as decoder"]).save_pretrained(tmp_path / "model")
    AutoTokenizer.from_pretrained(model_folder).save_pretrained(tmp_path / "model")
    (tmp_path / "data").mkdir()
    names = ("Anna", "Boris", "Carla", "Dmitri", "Elena", "Farid")
    rows = [
        {"sentence": f"{name} {verb} {other}.", "label": int(verb == "sees")}
        for name in names
        for other in names
        for verb in ("sees", "hears")
    ]
    for split, chosen in {"train": rows[: 5 * len(rows) // 6], "validation": rows[5 * len(rows) // 6 :]}.items():
        (tmp_path / "data" / f"cola_{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chosen))
    words = ["finetune", str(tmp_path / "model"), "--tasks", "cola", "--data", str(tmp_path / "data")]
    words += ["epochs=12", "learning_rates=[3e-3]", "seeds=[0]", "batch_size=8", "--output", str(tmp_path / "out")]
    assert main(words) == 0, capsys.readouterr()
    (path,) = (tmp_path / "out").rglob("*cola.json")
    result = json.loads(path.read_text())
    assert result["results"]["finetune_cola"]["score,none"] > 0.9
    assert result["lmeff"]["settings"]["pooling"] == "tried"
