"""How texts become ids, and that padding and the company an example is in change nothing."""

import json
import shutil

import pytest
import torch
from evaluation.small_models import save_model
from safetensors.torch import load_file, save_file
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertLMHeadModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    PreTrainedTokenizerFast,
)

from lmeff.errors import InputError
from lmeff.measures.finetuning.data import Example, load_task
from lmeff.measures.finetuning.encoding import Collator, Frame, choose_pad_id, encode
from lmeff.measures.finetuning.tasks import TASKS
from lmeff.measures.finetuning.trial import encode_task, load_classifier
from lmeff.recipe.sections.finetune import FinetuneSettings

TEXTS = [
    ("Anna sees Boris.", "Boris is seen."),
    ("Carla", "Dmitri likes the old doctors who thought about themselves, and so does Elena."),
    ("Farid hears Anna, who calls Boris, who hides.", "No."),
    ("Elena </s> <pad> <s> finds", "<pad>"),
]


@pytest.fixture(scope="module")
def gpt2_folder(tmp_path_factory, model_folder):
    """Absolute positions, dropout, and the GPT-2 habit of one token for beginning, end and padding."""
    folder = tmp_path_factory.mktemp("gpt2")
    own = AutoTokenizer.from_pretrained(model_folder)
    PreTrainedTokenizerFast(
        tokenizer_object=own.backend_tokenizer, bos_token="</s>", eos_token="</s>", pad_token="</s>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=600,
        n_positions=64,
        n_embd=32,
        n_layer=2,
        n_head=2,
        bos_token_id=1,
        eos_token_id=1,
        initializer_range=0.3,
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def task_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rte")
    rows = [{"sentence1": first, "sentence2": second, "label": n % 2} for n, (first, second) in enumerate(TEXTS)]
    for split in ("train", "validation"):
        (folder / f"rte_{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_an_example_is_begin_first_separator_second_end(model_folder):
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    frame = Frame.of(tokenizer, LlamaConfig())
    (pair, single) = encode(
        [Example("Anna sees Boris.", "No.", 1, 0), Example("Anna sees Boris.", None, 0, 1)], tokenizer, frame, 64
    )
    first, second = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("Anna sees Boris.", "No."))
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    assert pair == {"input_ids": [bos, *first, eos, *second, eos], "labels": 1}
    assert single["input_ids"] == [bos, *first, eos]


def test_a_text_that_spells_special_tokens_has_none(model_folder):
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    (encoded,) = encode([Example(*TEXTS[3], 0, 0)], tokenizer, Frame.of(tokenizer, LlamaConfig()), 64)
    ids = encoded["input_ids"]
    assert [ids.count(token) for token in (0, 1, 2)] == [1, 2, 0]
    assert (ids[0], ids[-1]) == (0, 1)
    assert "</s> <pad> <s> finds" in tokenizer.decode(ids[1 : ids.index(1)])


@pytest.mark.parametrize("max_length", [5, 8, 11, 20, 23, 40])
def test_the_longer_text_is_cut_first_and_both_and_the_end_stay(max_length):
    frame, first, second = Frame((100,), (101,), (102,)), list(range(15)), list(range(50, 55))
    ids, segments = frame.around(first, second, max_length)
    at = ids.index(101)
    assert segments == [0] * (at + 1) + [1] * (len(ids) - at - 1)
    kept_first, kept_second = ids[1:at], ids[at + 1 : -1]
    assert (ids[0], ids[-1]) == (100, 102)
    assert len(ids) == min(max_length, 23)
    assert kept_first
    assert kept_second
    assert kept_first == first[: len(kept_first)]
    assert kept_second == second[: len(kept_second)]
    if len(kept_second) < 5:  # the shorter one is cut only once both are equally long
        assert abs(len(kept_first) - len(kept_second)) <= 1


def test_a_length_without_room_for_texts_is_an_error():
    with pytest.raises(ValueError, match="no room"):
        Frame((100,), (101,), (102,)).around([1], [2], 4)


def test_the_pad_token_is_one_that_no_example_holds(model_folder, gpt2_folder):
    def chosen(tokenizer) -> int:
        encoded = encode([Example("Anna.", None, 0, 0)], tokenizer, Frame.of(tokenizer, LlamaConfig()), 64)
        return choose_pad_id(tokenizer, encoded, 600)

    assert chosen(AutoTokenizer.from_pretrained(gpt2_folder)) == 600
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    assert chosen(tokenizer) == 2
    for pad_token, expected in ((None, 600), (".", 600), ("!", tokenizer.convert_tokens_to_ids("!"))):
        tokenizer.pad_token = pad_token
        assert chosen(tokenizer) == expected


@pytest.mark.parametrize("kind", ["llama", "gpt2", "padded with a full stop"])
def test_neither_padding_nor_company_changes_the_logits(kind, model_folder, gpt2_folder, task_folder, tmp_path):
    """Each example alone, without any padding, is the truth: its logits at its last token."""
    folder = {"llama": model_folder, "gpt2": gpt2_folder}.get(kind, tmp_path)
    if folder == tmp_path:
        shutil.copytree(model_folder, tmp_path, dirs_exist_ok=True)
        tokenizer = AutoTokenizer.from_pretrained(model_folder)
        tokenizer.pad_token = "."
        tokenizer.save_pretrained(tmp_path)
    settings = FinetuneSettings(max_length=48, dev_share=0.3)
    data = load_task(TASKS["rte"], settings, str(task_folder), {})
    encoded = encode_task(folder, data, settings)
    examples = encoded.validation["validation"]
    model = load_classifier(folder, data, encoded.pad_id).eval()
    assert model.config.pad_token_id == encoded.pad_id
    collate = Collator(encoded.pad_id)

    def logits(batch):
        with torch.no_grad():
            return model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits

    def truth(example):
        with torch.no_grad():
            hidden = model.base_model(input_ids=torch.tensor([example["input_ids"]])).last_hidden_state
            return model.score(hidden[:, -1])

    alone = torch.cat([truth(example) for example in examples])
    assert len({len(example["input_ids"]) for example in examples}) > 2
    assert alone.std(dim=0).min() > 1e-3  # examples differ, so that picking a wrong one would show
    torch.testing.assert_close(logits(collate(examples)), alone, rtol=0, atol=2e-5)
    torch.testing.assert_close(logits(collate(examples[1:3])), alone[1:3], rtol=0, atol=2e-5)
    torch.testing.assert_close(logits(collate(examples[::-1])), alone.flip(0), rtol=0, atol=2e-5)

    right = collate(examples)  # and on the left, with the positions that an example has alone
    shift = [int(row.sum()) for row in right["attention_mask"]]
    ids = torch.stack([row.roll(len(row) - size) for row, size in zip(right["input_ids"], shift, strict=True)])
    mask = torch.stack([row.roll(len(row) - size) for row, size in zip(right["attention_mask"], shift, strict=True)])
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        left = model(input_ids=ids, attention_mask=mask, position_ids=positions).logits
    torch.testing.assert_close(left, alone, rtol=0, atol=2e-5)


def test_a_model_without_a_pad_token_keeps_its_weights(gpt2_folder, task_folder):
    settings = FinetuneSettings(dev_share=0.3)
    data = load_task(TASKS["rte"], settings, str(task_folder), {})
    model = load_classifier(gpt2_folder, data, encode_task(gpt2_folder, data, settings).pad_id)
    before = GPT2LMHeadModel.from_pretrained(gpt2_folder).transformer.wte.weight
    assert model.get_input_embeddings().weight.shape[0] == 601
    assert torch.equal(model.get_input_embeddings().weight[:600], before)


def test_only_the_head_may_be_new(model_folder, task_folder, tmp_path):
    shutil.copytree(model_folder, tmp_path / "model")
    weights = load_file(tmp_path / "model" / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})
    data = load_task(TASKS["rte"], FinetuneSettings(dev_share=0.3), str(task_folder), {})
    with pytest.raises(InputError, match=r"its weights lack model\.norm\.weight$"):
        load_classifier(tmp_path / "model", data, 2)


def test_a_pooler_belongs_to_the_head(task_folder, tmp_path):
    config = BertConfig(vocab_size=600, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, is_decoder=True)
    BertLMHeadModel(config).save_pretrained(tmp_path)
    data = load_task(TASKS["rte"], FinetuneSettings(dev_share=0.3), str(task_folder), {})
    assert load_classifier(tmp_path, data, 2).num_labels == 2


def test_texts_are_cut_at_what_the_model_takes(tmp_path, task_folder):
    save_model(tmp_path, max_position_embeddings=16)
    settings = FinetuneSettings(max_length=256, dev_share=0.3)
    encoded = encode_task(tmp_path, load_task(TASKS["rte"], settings, str(task_folder), {}), settings)
    assert encoded.max_length == 16
    examples = [*encoded.train, *encoded.dev, *encoded.validation["validation"]]
    assert max(len(one["input_ids"]) for one in examples) == 16
