"""Models that are not what their configuration, their tokenizer or the data say: one line, the same in every verb."""

import json
import shutil

import pytest
import torch
from evaluation.families import DECODERS
from evaluation.small_models import save_model
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BertConfig,
    BertForPreTraining,
    BertGenerationConfig,
    BertGenerationDecoder,
    DPRConfig,
    DPRQuestionEncoder,
    T5Config,
    T5ForConditionalGeneration,
)
from transformers.utils import logging as transformers_logging

from lmeff.cli import main
from lmeff.errors import InputError
from lmeff.evaluation.scorer.language_model import LmeffLM
from lmeff.models.loading import check_weights, load_language_model

VERBS = ("eval", "perplexity", "generate", "finetune", "profile")


def test_no_bar_of_another_library_is_shown(tmp_path, capfd):
    had_bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.enable_progress_bar()
    try:
        save_model(tmp_path / "model")
        capfd.readouterr()
        check_weights(tmp_path / "model")
        load_language_model(tmp_path / "model")
        assert capfd.readouterr().err == ""
        assert transformers_logging.is_progress_bar_enabled()
    finally:
        if not had_bars:
            transformers_logging.disable_progress_bar()


@pytest.fixture(scope="module")
def task_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("glue")
    rows = [{"sentence": f"Anna sees doctor {n}.", "label": n % 2} for n in range(40)]
    for split in ("train", "validation"):
        (folder / f"cola_{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def said(tmp_path, mini_blimp, task_folder, capsys):
    """What a verb says of a model, and its exit code."""
    (tmp_path / "text.txt").write_text("Anna sees the old doctors who thought about themselves.")
    words = {
        "eval": ["--tasks", "lmeff_blimp_adjunct_island", "--path", f"blimp={mini_blimp}"],
        "perplexity": ["--text", str(tmp_path / "text.txt")],
        "generate": ["--samples", "1", "--max-new-tokens", "3"],
        "finetune": ["--tasks", "cola", "--data", str(task_folder), "epochs=1", "learning_rates=[1e-3]", "seeds=[0]"],
        "profile": ["--lengths", "8", "--batch-sizes", "1", "--repeats", "3", "--seconds", "0.1", "--device", "cpu"],
    }

    def run(verb: str, model) -> tuple[int, str]:
        code = main([verb, str(model), *words[verb], "--output", str(tmp_path / "out" / verb)])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return code, captured.out + captured.err

    return run


def edit(folder, change_weights=lambda weights: weights, **config) -> None:
    """Changes the weights and the configuration of a saved model, each by itself."""
    path = folder / "model.safetensors"
    save_file(change_weights(load_file(path)), path, metadata={"format": "pt"})
    about = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(about | config))


def refusal(verb: str, folder, message: str, said) -> None:
    code, text = said(verb, folder)
    assert code == 1, text
    lines = [line for line in text.splitlines() if message in line]
    assert len(lines) == 1, text
    assert lines[0].count(message) == 1


@pytest.mark.parametrize("verb", VERBS)
def test_weights_of_more_layers_than_the_configuration_are_no_model(verb, tmp_path, said):
    save_model(tmp_path / "model", num_hidden_layers=4)
    edit(tmp_path / "model", num_hidden_layers=2)
    message = (
        "its weights have model.layers.2.input_layernorm.weight and 17 more, which its configuration has no place for"
    )
    refusal(verb, tmp_path / "model", message, said)


def test_lm_evals_own_command_line_refuses_other_weights_too(tmp_path):
    save_model(tmp_path, num_hidden_layers=4)
    assert LmeffLM(str(tmp_path), device="cpu").max_length == 128
    edit(tmp_path, num_hidden_layers=2)
    with pytest.raises(InputError, match="which its configuration has no place for"):
        LmeffLM(str(tmp_path), device="cpu")


def test_it_refuses_them_of_a_repository_too(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    repository = tmp_path / "models--somebody--model"
    for branch, commit, num_layers in (("main", "a" * 40, 2), ("old", "b" * 40, 4)):
        save_model(repository / "snapshots" / commit, num_hidden_layers=4)
        edit(repository / "snapshots" / commit, num_hidden_layers=num_layers)
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / branch).write_text(commit)
    assert LmeffLM("somebody/model", device="cpu", revision="old").max_length == 128
    with pytest.raises(InputError, match="which its configuration has no place for"):
        LmeffLM("somebody/model", device="cpu")


def test_what_weights_are_by_themselves_is_told_with_what_they_are_not(tmp_path, capsys):
    for name, own, said in (("more", 4, 2), ("fewer", 2, 4), ("right", 2, 2)):
        save_model(tmp_path / name, num_hidden_layers=own)
        edit(tmp_path / name, num_hidden_layers=said)
    shutil.copytree(tmp_path / "more", tmp_path / "again")
    names = [str(tmp_path / name) for name in ("more", "again", "fewer", "right")]
    assert main(["weights", *names, "--output", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    told = [line for line in lines if "measured as it is, but other verbs refuse it" in line]
    assert [line.split(":")[0] for line in told] == ["more", "again", "fewer"]
    assert told[1] == told[0].replace("more", "again", 1)
    assert "have model.layers.2.input_layernorm.weight and 17 more, which its configuration has no place for" in told[0]
    assert "lack model.layers.2.input_layernorm.weight and 17 more" in told[2]
    assert [line.split()[0] for line in lines[-4:]] == ["more", "again", "fewer", "right"]


@pytest.mark.parametrize("verb", VERBS)
def test_weights_of_fewer_layers_than_the_configuration_are_no_model(verb, tmp_path, said):
    save_model(tmp_path / "model", num_hidden_layers=2)
    edit(tmp_path / "model", num_hidden_layers=4)
    refusal(verb, tmp_path / "model", "its weights lack model.layers.2.input_layernorm.weight and 17 more", said)


@pytest.mark.medium
@pytest.mark.parametrize("verb", VERBS)
def test_biases_that_would_be_dropped_are_named(verb, tmp_path, said):
    save_model(tmp_path / "model", attention_bias=True)
    edit(tmp_path / "model", attention_bias=False)
    message = (
        "its weights have model.layers.0.self_attn.k_proj.bias and 3 more, which its configuration has no place for"
    )
    refusal(verb, tmp_path / "model", message, said)


@pytest.mark.medium
@pytest.mark.parametrize("verb", VERBS)
def test_shapes_are_those_of_the_configuration(verb, tmp_path, said):
    save_model(tmp_path / "model")
    edit(tmp_path / "model", intermediate_size=32)
    message = "its weights have model.layers.0.mlp.down_proj.weight of 32 x 64, its configuration 32 x 32 and 2 more"
    refusal(verb, tmp_path / "model", message, said)


def test_a_head_of_its_own_is_no_tied_one(tmp_path):
    """transformers 5 would take the head, version 4 the embeddings."""
    save_model(tmp_path, tie_word_embeddings=False)
    edit(tmp_path, tie_word_embeddings=True)
    with pytest.raises(InputError, match="an output embedding of their own"):
        load_language_model(tmp_path)
    edit(tmp_path, lambda weights: weights | {"lm_head.weight": weights["model.embed_tokens.weight"].clone()})
    assert load_language_model(tmp_path).get_output_embeddings() is not None


@pytest.mark.parametrize("removed", ["lm_head.weight", "model.embed_tokens.weight"])
def test_what_is_not_tied_must_be_there(tmp_path, removed):
    save_model(tmp_path, tie_word_embeddings=False)
    edit(tmp_path, lambda weights: {name: value for name, value in weights.items() if name != removed})
    with pytest.raises(InputError, match=f"its weights lack {removed}"):
        load_language_model(tmp_path)


def test_a_bias_of_the_head_is_no_other_head(tmp_path):
    save_model(tmp_path)
    edit(tmp_path, lambda weights: weights | {"lm_head.bias": torch.ones(600)})
    with pytest.raises(InputError, match=r"its weights have lm_head\.bias, which"):
        load_language_model(tmp_path)


@pytest.mark.parametrize("kind", ["gpt2", "gpt-neox"])
def test_masks_and_names_of_old_files_are_no_parameters(tmp_path, kind):
    """GPT-2 on the Hub has its causal masks in the file and no prefix before its names, old Pythias their rotary tables."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(DECODERS[kind])
    model.save_pretrained(tmp_path)
    prefix, attention = {"gpt2": ("transformer.", "h.0.attn"), "gpt-neox": ("", "gpt_neox.layers.0.attention")}[kind]
    masks = {f"{attention}.bias": torch.ones(1, 1, 64, 64), f"{attention}.masked_bias": torch.tensor(-1e9)}
    masks[f"{attention}.rotary_emb.inv_freq"] = torch.ones(4)
    edit(tmp_path, lambda weights: {name.removeprefix(prefix): value for name, value in weights.items()} | masks)
    found = load_language_model(tmp_path).state_dict()
    assert all(torch.equal(value, found[name]) for name, value in model.state_dict().items())


def test_layers_too_many_are_found_without_a_prefix_too(tmp_path):
    model = AutoModelForCausalLM.from_config(DECODERS["gpt2"])
    model.save_pretrained(tmp_path)
    edit(
        tmp_path,
        lambda weights: {name.removeprefix("transformer."): value for name, value in weights.items()},
        n_layer=1,
    )
    from lmeff.models.loading import load_config, load_with_new_head

    with pytest.raises(InputError, match=r"its weights have h\.1\.attn\.c_attn\.weight and 10 more"):
        load_language_model(tmp_path)
    with pytest.raises(InputError, match=r"its weights have h\.1\.attn\.c_attn\.weight and 10 more"):
        load_with_new_head(tmp_path, load_config(tmp_path, num_labels=2))


def test_the_heads_of_pretraining_may_be_left_out(tmp_path):
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertForPreTraining(BertConfig(vocab_size=600, **sizes, is_decoder=True)).save_pretrained(tmp_path)
    assert load_language_model(tmp_path).config.is_decoder


@pytest.mark.parametrize("verb", VERBS)
def test_an_encoder_decoder_is_one_line(verb, tmp_path, model_folder, said):
    sizes = {"vocab_size": 600, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 1, "num_heads": 4}
    T5ForConditionalGeneration(T5Config(**sizes, decoder_start_token_id=0)).save_pretrained(tmp_path / "model")
    AutoTokenizer.from_pretrained(model_folder).save_pretrained(tmp_path / "model")
    refusal(verb, tmp_path / "model", "an encoder-decoder (t5); models of one stack can be measured, not of two", said)


@pytest.mark.parametrize("verb", VERBS[:-1])
def test_a_tokenizer_larger_than_the_embedding_is_one_line(verb, tmp_path, said):
    save_model(tmp_path / "model")
    shutil.copytree(tmp_path / "model", tmp_path / "small")
    largest = len(AutoTokenizer.from_pretrained(tmp_path / "model")) - 1
    rows = {"model.embed_tokens.weight", "lm_head.weight"}
    cut = lambda weights: {n: value[:300].clone() if n in rows else value for n, value in weights.items()}  # noqa: E731
    edit(tmp_path / "small", cut, vocab_size=300)
    message = f"the tokenizer gives token {largest}; the model has embeddings of 300 tokens"
    refusal(verb, tmp_path / "small", message, said)


@pytest.mark.medium
@pytest.mark.parametrize("verb", VERBS[:-1])
def test_an_added_token_that_no_text_has_does_no_harm(verb, tmp_path, said):
    """Many a published tokenizer has a pad token that the model was never given a row for."""
    save_model(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    tokenizer.add_special_tokens({"additional_special_tokens": [f"<{n}>" for n in range(400)]})
    assert len(tokenizer) > 600
    tokenizer.pad_token = "<399>"
    tokenizer.save_pretrained(tmp_path / "model")
    code, text = said(verb, tmp_path / "model")
    assert code == 0, text


@pytest.mark.parametrize("verb", VERBS[:-1])
def test_a_tokenizer_without_a_beginning_is_one_line(verb, tmp_path, said):
    save_model(tmp_path / "model")
    path = tmp_path / "model" / "tokenizer_config.json"
    config = {
        key: value for key, value in json.loads(path.read_text()).items() if key not in ("bos_token", "eos_token")
    }
    path.write_text(json.dumps(config))
    (tmp_path / "model" / "special_tokens_map.json").unlink(missing_ok=True)
    message = "its tokenizer has neither a BOS nor an EOS token, so there is nothing to begin a text with"
    refusal(verb, tmp_path / "model", message, said)


@pytest.mark.parametrize(
    ("build", "config", "message"),
    [
        (DPRQuestionEncoder, DPRConfig, "transformers has no classification head for the kind dpr"),
        (BertGenerationDecoder, BertGenerationConfig, "a BertGenerationDecoder sees later tokens"),
    ],
)
def test_a_model_that_can_have_no_classifier_is_one_line(build, config, message, tmp_path, model_folder, said):
    sizes = {"vocab_size": 600, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    build(config(**sizes)).save_pretrained(tmp_path / "model")
    AutoTokenizer.from_pretrained(model_folder).save_pretrained(tmp_path / "model")
    refusal("finetune", tmp_path / "model", message, said)


HALF = r"holds half of a character (a lone \ud800-\udfff escape)"


def test_half_of_a_character_is_told_with_file_and_line(tmp_path, model_folder, task_folder, mini_blimp, said, capsys):
    blimp = tmp_path / "blimp"
    shutil.copytree(mini_blimp, blimp)
    path = blimp / "adjunct_island.jsonl"
    lines = path.read_text().splitlines()
    lines[1] = '{"sentence_good": "Anna \\ud83d sees.", "sentence_bad": "Anna see."}'
    path.write_text("\n".join(lines))
    output = ["--output", str(tmp_path / "halves")]
    code = main(
        ["eval", str(model_folder), "--tasks", "lmeff_blimp_adjunct_island", "--path", f"blimp={blimp}", *output]
    )
    captured = capsys.readouterr()
    assert code in (1, 2)
    assert f"{path}, line 2: sentence_good: {HALF}" in captured.out + captured.err

    (tmp_path / "prompts.jsonl").write_text('{"prompt": "Anna"}\n{"prompt": "Boris \\udc00"}\n')
    assert main(["generate", str(model_folder), "--prompts", str(tmp_path / "prompts.jsonl"), *output]) == 2
    assert f"prompts.jsonl:2: {HALF}" in capsys.readouterr().err

    (tmp_path / "text.jsonl").write_text('{"text": "Anna"}\n{"text": "Boris \\udc00"}\n')
    assert main(["perplexity", str(model_folder), "--text", str(tmp_path / "text.jsonl"), *output]) == 2
    assert HALF in capsys.readouterr().err

    shutil.copytree(task_folder, tmp_path / "glue")
    with open(tmp_path / "glue" / "cola_train.jsonl", "a") as file:
        file.write('{"sentence": "A \\ud83d.", "label": 1}\n')
    assert main(["finetune", str(model_folder), "--tasks", "cola", "--data", str(tmp_path / "glue"), *output]) == 2
    assert f"cola_train.jsonl, line 41: sentence: {HALF}" in capsys.readouterr().err


def test_half_of_a_character_in_other_records():
    from lmeff.evaluation.tasks.records import LAYOUTS
    from lmeff.evaluation.tasks.smallbench import question

    whole, half = "whole", "half \ud83d"
    entity = {"input_prefix": whole, "options": [whole, half], "numops": 1}
    comps = {"prefix_acceptable": whole, "prefix_unacceptable": half, "property_phrase": whole}
    for layout, record in {"entity_tracking": entity, "comps": comps}.items():
        with pytest.raises(InputError, match="holds half of a character"):
            LAYOUTS[layout](record, "file, line 1")
    with pytest.raises(InputError, match="file, line 1: sentence: holds half of a character"):
        question("sst2", {"sentence": half, "label": 1}, "file, line 1")
