"""Fine-tuning models of every family: what each reads, that padding changes nothing, and that each learns."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluation.families import DECODERS
from evaluation.own_tasks import write_own_tasks, write_rows
from evaluation.small_models import NAMES
from evaluation.tokenizer_habits import SENTENCES
from models.tiny_families import TINY, recipe_of
from tokenizers import processors
from torch.optim.optimizer import register_optimizer_step_pre_hook
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertGenerationConfig,
    BertGenerationDecoder,
)

from lmeff.errors import InputError
from lmeff.formats.run_folder import RunFolder
from lmeff.measures.finetuning.data import Example, load_task
from lmeff.measures.finetuning.encoding import Collator, Frame, encode
from lmeff.measures.finetuning.pooling import Classifier, find_pooling
from lmeff.measures.finetuning.tasks import find_tasks
from lmeff.measures.finetuning.trial import EncodedTask, Trial, check_model, encode_task, load_classifier, run_trial
from lmeff.measures.registry import measure_of_run
from lmeff.measures.selection import SelectedModel
from lmeff.models.build import build_model
from lmeff.models.families import FAMILIES
from lmeff.recipe.sections.evaluation import Evaluation
from lmeff.recipe.sections.finetune import FinetuneRecipe, FinetuneSettings
from lmeff.tokens.tokenizer.bpe import save_tokenizer, train_tokenizer
from lmeff.tokens.tokenizer.published import write_published_tokenizer

SHAPES = TINY | {
    "modernbert": TINY["bert"] | {"local_attention": 8, "global_attn_every_n_layers": 2},
    "xlnet": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "d_inner": 64},
}
OTHERS = {"mamba": DECODERS["mamba"], "gpt-neox": DECODERS["gpt-neox"], "xglm": DECODERS["xglm"]}
"""Decoders that no family of its own stands for, with and without a classifier of transformers."""
HEADS = {
    "llama": ("LlamaForSequenceClassification", "last token", "right", 2 * 32),
    "gpt2": ("GPT2ForSequenceClassification", "last token", "right", 2 * 32),
    "gptj": ("GPTJForSequenceClassification", "last token", "right", 2 * 32),
    "mamba2": ("LastTokenClassifier", "last token", "right", 2 * 32),
    "bert": ("BertForSequenceClassification", "first token", "right", 32 * 32 + 32 + 2 * 32 + 2),
    "modernbert": ("ModernBertForSequenceClassification", "first token", "right", 32 * 32 + 32 + 2 * 32 + 2),
    "xlnet": ("XLNetForSequenceClassification", "last token", "left", 32 * 32 + 32 + 2 * 32 + 2),
    "mamba": ("LastTokenClassifier", "last token", "right", 2 * 32),
    "gpt-neox": ("GPTNeoXForSequenceClassification", "last token", "right", 2 * 32),
    "xglm": ("LastTokenClassifier", "last token", "right", 2 * 32),
}
PAIRS = [
    ("Anna sees Boris.", "Boris is seen."),
    ("Carla", "Dmitri likes the old doctors who thought about themselves, and so does Elena."),
    ("Farid hears Anna, who calls Boris, who hides.", None),
    ("No.", None),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """A model of each family as its revision is saved."""
    prepared, root = tmp_path_factory.mktemp("tokenizer"), tmp_path_factory.mktemp("models")
    save_tokenizer(train_tokenizer(SENTENCES, 301), prepared)
    for name in (*SHAPES, *OTHERS):
        folder = root / name
        folder.mkdir()
        recipe = recipe_of(folder, name, SHAPES[name]) if name in SHAPES else None
        torch.manual_seed(0)
        model = build_model(recipe) if recipe else AutoModelForCausalLM.from_config(OTHERS[name])
        model.save_pretrained(folder)
        write_published_tokenizer(prepared, folder, add_mask=name in ("bert", "modernbert"))
    return {name: root / name for name in (*SHAPES, *OTHERS)}


@pytest.fixture(scope="module")
def task_folder(tmp_path_factory) -> Path:
    """Pairs of sentences, and short ones whose last word says it all."""
    folder = tmp_path_factory.mktemp("own")
    write_own_tasks(folder)
    write_short_sentences(folder)
    return folder


def write_short_sentences(folder: Path) -> None:
    verbs = {"likes": "nice", "hides": "bad"}
    names = [f"{word}{a} {b}" for word in ("", "Today ") for a in NAMES for b in NAMES]
    rows = [{"a": f"{both} {verb}", "kind": verbs[verb]} for both in names for verb in verbs]
    random.Random(0).shuffle(rows)
    write_rows(folder / "short-train.jsonl", rows[:96])
    write_rows(folder / "short-val.jsonl", rows[96:])


def encoded_task(model: Path, task_folder: Path, settings: FinetuneSettings, name: str = "") -> EncodedTask:
    files = {"train": f"{task_folder}/{name}train.jsonl", "validation": f"{task_folder}/{name}val.jsonl"}
    columns = ["a"] if name else ["a", "b"]
    recipe = FinetuneRecipe(tasks={"kind": {"files": files, "columns": columns, "label": "kind"}})
    task = find_tasks(["kind"], recipe).tasks["kind"]
    return encode_task(model, load_task(task, settings, None, {}), settings)


def classifier_of(folder: Path, encoded: EncodedTask) -> Classifier:
    torch.manual_seed(0)
    return find_pooling(load_classifier(folder, encoded.data, encoded.pad_id), encoded.pad_id)


def test_every_family_has_a_line_here():
    decoders_of_no_family = {"mamba", "gpt-neox", "xglm"} & HEADS.keys()
    assert decoders_of_no_family, "what stands for `auto`"
    assert HEADS.keys() >= FAMILIES.keys() - {"auto"}


@pytest.mark.parametrize("name", HEADS)
def test_the_classes_of_an_example_do_not_depend_on_its_padding(name, folders, task_folder):
    """A row beside longer ones is padded; alone it is not."""
    folder = folders[name]
    assert check_model(folder) is None
    encoded = encoded_task(folder, task_folder, FinetuneSettings(max_length=48))
    classifier = classifier_of(folder, encoded)
    about = classifier.describe()
    assert tuple(about[key] for key in ("head", "pooling", "padding", "head_parameters")) == HEADS[name]
    model = classifier.module.eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = [Example(first, second, 0, index) for index, (first, second) in enumerate(PAIRS)]
    rows = encode(texts, tokenizer, Frame.of(tokenizer, AutoConfig.from_pretrained(folder)), 48)
    assert len({len(row["input_ids"]) for row in rows}) == len(rows)
    with torch.no_grad():
        for parameter in model.parameters():  # so large that each part of it shows
            parameter += 0.1 * torch.randn_like(parameter)

    def logits(*chosen) -> torch.Tensor:
        batch = Collator(encoded.pad_id, classifier.side)(chosen)
        del batch["labels"]
        with torch.no_grad():
            return model(**batch).logits

    alone = torch.cat([logits(row) for row in rows])
    assert alone.std(dim=0).min() > 1e-3
    torch.testing.assert_close(logits(*rows), alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits(*rows[::-1][:2]), alone[[3, 2]], rtol=1e-4, atol=1e-5)


def test_what_stands_around_texts_is_what_the_familys_own_tokenizers_put_there(folders):
    """BERT's and XLNet's templates, as transformers' converters of their tokenizers have them."""
    tokenizer = AutoTokenizer.from_pretrained(folders["bert"])
    marks = {"special_tokens": [("<s>", 1), ("</s>", 2)]}
    bert = {"single": "<s> $A </s>", "pair": "<s>:0 $A:0 </s>:0 $B:1 </s>:1"}
    xlnet = {"single": "$A:0 </s>:0 <s>:2", "pair": "$A:0 </s>:0 $B:1 </s>:1 <s>:2"}
    texts = [Example(first, second, 0, index) for index, (first, second) in enumerate(PAIRS)]
    configs = {name: AutoConfig.from_pretrained(folders[name]) for name in ("bert", "xlnet")}
    cases = [
        (configs["bert"], bert, False),
        (BertConfig(type_vocab_size=2), bert, True),
        (configs["xlnet"], xlnet, True),
    ]
    for config, template, has_segments in cases:
        rows = encode(texts, tokenizer, Frame.of(tokenizer, config), 64)
        stock = AutoTokenizer.from_pretrained(folders["bert"])
        stock.backend_tokenizer.post_processor = processors.TemplateProcessing(**template, **marks)
        for row, pair in zip(rows, PAIRS, strict=True):
            expected = stock.backend_tokenizer.encode(*(text for text in pair if text is not None))
            assert row["input_ids"] == expected.ids
            assert row.get("token_type_ids") == (expected.type_ids if has_segments else None)


def test_segments_reach_the_model(folders, task_folder, tmp_path):
    """A stock BERT with two segments answers as when it is called with them."""
    torch.manual_seed(0)
    shape = {"vocab_size": 302, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertForMaskedLM(BertConfig(**shape, intermediate_size=40, initializer_range=0.3)).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(folders["bert"]).save_pretrained(tmp_path)
    encoded = encoded_task(tmp_path, task_folder, FinetuneSettings(max_length=48))
    classifier = classifier_of(tmp_path, encoded)
    model = classifier.module.eval()
    batch = Collator(encoded.pad_id, classifier.side)(encoded.train[:3])
    for row, one in enumerate(encoded.train[:3]):
        ids = torch.tensor([one["input_ids"]])
        first_part = one["input_ids"].index(2) + 1
        segments = torch.tensor([[0] * first_part + [1] * (ids.shape[1] - first_part)])
        assert torch.equal(batch["token_type_ids"][row, : ids.shape[1]], segments[0])
        with torch.no_grad():
            alone = model(input_ids=ids, token_type_ids=segments).logits
            other = model(input_ids=ids).logits
            padded = model(**{name: value[row : row + 1] for name, value in batch.items() if name != "labels"}).logits
        torch.testing.assert_close(padded, alone, rtol=1e-4, atol=1e-5)
        assert (other - alone).abs().max() > 1e-3


def fine_tuned(folder: Path, task: tuple[Path, str], seed: int = 0, rate: float = 1e-2, **settings) -> Trial:
    settings = FinetuneSettings(**{"epochs": 1, "max_length": 32, "batch_size": 8} | settings)
    return run_trial(folder, encoded_task(folder, task[0], settings, task[1]), settings, rate, seed)


@pytest.mark.medium
@pytest.mark.parametrize("name", ["mamba2", "bert", "modernbert", "xlnet"])
def test_it_learns_an_easy_task_and_the_seed_decides_all(name, folders, task_folder):
    task = task_folder, "short-"
    trial = fine_tuned(folders[name], task, epochs=4, dev_share=0.25)
    rows = [json.loads(line) for line in (task_folder / "short-val.jsonl").read_text().splitlines()]
    right = [row["kind"] == "nice" for row in rows]
    assert np.mean(np.argmax(trial.outputs["validation"], axis=1) == right) > 0.95
    assert (trial.classifier["head"], trial.classifier["pooling"]) == HEADS[name][:2]
    first, second, other = (fine_tuned(folders[name], task, seed, max_train_examples=24) for seed in (1, 1, 2))
    assert first == second
    assert first.outputs != other.outputs


@pytest.mark.medium
@pytest.mark.parametrize("name", ["mamba2", "bert", "xlnet"])
def test_gradients_are_those_of_the_whole_batch_however_it_is_cut(name, folders, task_folder, tmp_path):
    """The loss of transformers' own classifiers is four times as large over four micro-batches, which Adam would hide."""
    for path in folders[name].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    off = {key: 0.0 for key in ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout") if key in config}
    (tmp_path / "config.json").write_text(json.dumps(config | off | {"summary_last_dropout": 0.0}))
    norms: list[float] = []

    def note(optimizer, *_) -> None:
        gradients = [one.grad for group in optimizer.param_groups for one in group["params"] if one.grad is not None]
        norms.append(float(torch.stack([gradient.norm() for gradient in gradients]).norm()))

    handle = register_optimizer_step_pre_hook(note)
    try:
        for micro in (8, 2):
            fine_tuned(
                tmp_path, (task_folder, ""), rate=1e-6, max_train_examples=20, max_grad_norm=1e9, micro_batch_size=micro
            )
    finally:
        handle.remove()
    assert len(norms) == 6  # of 8, 8 and 4 examples
    np.testing.assert_allclose(norms[:3], norms[3:], rtol=1e-3)


@pytest.mark.medium
@pytest.mark.parametrize("name", ["mamba2", "bert", "xlnet"])
def test_a_run_fine_tunes_its_final_revision(name, folders, tmp_path, monkeypatch):
    data = tmp_path / "leaner_glue"
    data.mkdir()
    rows = [{"sentence": f"{text} {n}", "label": n % 2} for n, text in enumerate(SENTENCES)]
    for split, chosen in {"train": rows[:30], "validation": rows[30:40]}.items():
        lines = "".join(json.dumps(row) + "\n" for row in chosen)
        (data / f"cola_{split}.jsonl").write_text(lines)
    monkeypatch.setenv("LMEFF_EVAL_DATA", str(tmp_path))
    section = Evaluation(tasks=[], measures=["finetuning"])
    run = RunFolder(tmp_path / "run")
    measure = measure_of_run("finetuning", section, run, lambda: None)
    model = SelectedModel(folders[name], run.results_of("seed-0"))
    said: list[str] = []
    measure.prepare([model], said.append)
    measure.measure(model, model.fetch(), said.append)
    result = json.loads((run.results_of("seed-0") / "finetune_leaner_cola.json").read_text())
    head, pooling, padding, head_parameters = HEADS[name]
    about = {"head": head, "head_parameters": head_parameters, "pooling": pooling, "padding": padding}
    assert result["finetune"]["classifier"] == about
    assert result["lmeff"]["settings"].get("segments") == {"xlnet": 3}.get(name)


@pytest.mark.medium
def test_a_head_of_ours_is_for_models_that_see_no_later_tokens(folders, task_folder, tmp_path):
    config = BertGenerationConfig(vocab_size=301, hidden_size=32, num_hidden_layers=1, num_attention_heads=2)
    BertGenerationDecoder(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(folders["llama"]).save_pretrained(tmp_path)
    with pytest.raises(
        InputError, match=r"^a BertGenerationDecoder sees later tokens, and transformers has no classif.*kind$"
    ):
        fine_tuned(tmp_path, (task_folder, ""))
