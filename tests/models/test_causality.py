"""Which models see later tokens is tried on them, and every verb goes by the answer."""

import json
import sys

import prepared
import pytest
import torch
from evaluation.families import BIDIRECTIONAL, DECODERS
from evaluation.small_models import save_model
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer, LlamaConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from lmeff.cli import main
from lmeff.errors import InputError
from lmeff.evaluation.scorer.language_model import LmeffLM
from lmeff.evaluation.scorer.load import load_model
from lmeff.models.causality import sees_later_tokens

NO_DECODER = "no decoder: later tokens change what it says of earlier ones"


def build(config):
    torch.manual_seed(0)
    causal = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING
    return (AutoModelForCausalLM if causal else AutoModelForMaskedLM).from_config(config)


@pytest.mark.parametrize("kind", [*DECODERS, *BIDIRECTIONAL])
def test_what_a_model_does_counts_and_not_what_its_configuration_says(kind):
    model = build({**DECODERS, **BIDIRECTIONAL}[kind])
    before = torch.get_rng_state()
    for part in (model, model.base_model):
        assert sees_later_tokens(part) == (kind in BIDIRECTIONAL)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", ["llama", "mixtral", "gpt-neox", "bert", "modernbert"])
@pytest.mark.parametrize("damage", ["tiny", "no numbers", "attention that says nothing", "bfloat16"])
def test_weights_that_show_nothing_do_not_decide(kind, damage):
    model = build({**DECODERS, **BIDIRECTIONAL}[kind])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if damage == "tiny":
                parameter *= 1e-4
            elif damage == "no numbers":
                parameter.fill_(float("nan"))
            elif damage == "attention that says nothing" and ("o_proj" in name or "dense" in name or "Wo" in name):
                parameter.zero_()
    model = model.to(torch.bfloat16) if damage == "bfloat16" else model
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    assert sees_later_tokens(model) == (kind in BIDIRECTIONAL)
    assert all(
        torch.equal(value.nan_to_num(), weights[name].nan_to_num()) for name, value in model.state_dict().items()
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_usual_model_is_not_copied_in_float32(dtype, monkeypatch):
    monkeypatch.setattr("torch.nn.Module.float", lambda model: pytest.fail("would take twice a model's memory more"))
    for kind in ("llama", "gpt2", "gpt-neox", "mixtral", "falcon, alibi", "mamba"):
        assert sees_later_tokens(build(DECODERS[kind]).to(dtype)) is False


@pytest.mark.parametrize("reason", ["quantized", "several devices", "no memory"])
def test_where_there_can_be_no_copy_the_first_trial_decides(reason, monkeypatch):
    models = {"causal": DECODERS["llama"], "both ways": BIDIRECTIONAL["gemma-3 that looks both ways"]}
    models |= {"unclear": BIDIRECTIONAL["bert"]}
    for name, config in models.items():
        model = build(config).to(torch.bfloat16)
        if reason == "quantized":
            model.is_quantized = True
        elif reason == "several devices":
            model.hf_device_map = {"model": 0, "lm_head": 1}
        else:
            monkeypatch.setattr("lmeff.models.causality.available_bytes", lambda: 1000)
        if name == "unclear":
            with torch.no_grad():
                model.cls.predictions.decoder.weight *= 1e-3  # whose influence is lost in the bias
                model.cls.predictions.bias += 1
            with pytest.raises(InputError, match=r"in bfloat16 do not tell .* load it with dtype=float32"):
                sees_later_tokens(model)
        else:
            assert sees_later_tokens(model) == (name == "both ways")


@pytest.fixture(scope="module")
def folders(tmp_path_factory, model_folder):
    """A Pythia, whose configuration says nothing of a decoder, and a model that sees later tokens, with our tokenizer."""
    root = tmp_path_factory.mktemp("models")
    for name, config in {"pythia": DECODERS["gpt-neox"], "masked": BIDIRECTIONAL["modernbert"]}.items():
        build(config).save_pretrained(root / name)
        AutoTokenizer.from_pretrained(model_folder).save_pretrained(root / name)
    assert json.loads((root / "pythia" / "config.json").read_text()).get("is_decoder") is not True
    return root


@pytest.fixture(scope="module")
def task_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("glue")
    rows = [{"sentence": f"Anna sees doctor {n}.", "label": n % 2} for n in range(40)]
    for split in ("train", "validation"):
        (folder / f"cola_{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def run(verb: str, model, output, mini_blimp, task_folder, capsys) -> tuple[int, str]:
    text = output.parent / "text.txt"
    text.write_text("Anna sees the old doctors who thought about themselves.")
    words = {
        "eval": ["--tasks", "lmeff_blimp_adjunct_island", "--path", f"blimp={mini_blimp}"],
        "perplexity": ["--text", str(text)],
        "generate": ["--samples", "1", "--max-new-tokens", "3"],
        "finetune": ["--tasks", "cola", "--data", str(task_folder), "epochs=1", "learning_rates=[1e-3]", "seeds=[0]"],
        "profile": ["--lengths", "8", "--batch-sizes", "1", "--repeats", "3", "--seconds", "0.1", "--device", "cpu"],
    }[verb]
    code = main([verb, str(model), *words, "--output", str(output)])
    said = capsys.readouterr()
    return code, said.out + said.err


@pytest.mark.medium
@pytest.mark.parametrize("verb", ["eval", "perplexity", "generate", "finetune", "profile"])
def test_every_verb_goes_by_the_same_answer(verb, folders, tmp_path, mini_blimp, task_folder, capsys):
    code, said = run(verb, folders / "pythia", tmp_path / "pythia", mini_blimp, task_folder, capsys)
    assert code == 0, said
    code, said = run(verb, folders / "masked", tmp_path / "masked", mini_blimp, task_folder, capsys)
    if verb in ("finetune", "profile"):
        assert code == 0, said
        assert NO_DECODER not in said
    else:
        assert code == 1
        assert len([line for line in said.splitlines() if NO_DECODER in line]) == 1
        assert "Traceback" not in said
    if verb == "profile":
        (path,) = (tmp_path / "masked").rglob("cpu-float32.json")
        profile = json.loads(path.read_text())
        assert profile["sees_later_tokens"] is True
        assert profile["generation"] is None
        assert any("sees later tokens" in note for note in profile["notes"])
        assert profile["latency"][0]["median_ms"] > 0


@pytest.mark.slow
def test_lm_evals_own_command_line_refuses_them_too(folders, mini_blimp, tmp_path, clean_environment):
    build(BIDIRECTIONAL["bert"]).save_pretrained(folders / "bert")
    AutoTokenizer.from_pretrained(folders / "pythia").save_pretrained(folders / "bert")
    with pytest.raises(InputError, match="no decoder"):
        LmeffLM(str(folders / "bert"), device="cpu")
    words = [sys.executable, "-m", "lmeff.cli", "lm-eval", "run", "--model", "lmeff", "--device", "cpu"]
    words += ["--model_args", f"pretrained={folders / 'bert'}", "--tasks", "lmeff_blimp_adjunct_island"]
    words += ["--output_path", str(tmp_path / "results")]
    environment = {**clean_environment, "LMEFF_EVAL_DATA": str(mini_blimp.parent)}
    done = prepared.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"{folders / 'bert'}: a BertLMHeadModel that is {NO_DECODER}")
    assert "Traceback" not in done.stdout + done.stderr
    assert not list(tmp_path.rglob("*.json"))


def test_a_model_of_another_kind_is_one_line(tmp_path, model_folder):
    from transformers import T5Config, T5ForConditionalGeneration, ViTConfig, ViTModel

    t5 = T5Config(vocab_size=600, d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4, decoder_start_token_id=0)
    T5ForConditionalGeneration(t5).save_pretrained(tmp_path / "t5")
    with pytest.raises(InputError, match=r"t5: an encoder-decoder \(t5\)"):
        load_model(tmp_path / "t5", "cpu", progress=False)
    vit = ViTConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64, image_size=32)
    ViTModel(vit).save_pretrained(tmp_path / "vit")
    with pytest.raises(InputError, match="vit: transformers has no language model of the kind vit"):
        load_model(tmp_path / "vit", "cpu", progress=False)


def test_a_llama_is_taken_as_before(tmp_path):
    save_model(tmp_path)
    assert isinstance(load_model(tmp_path, "cpu", progress=False).model.config, LlamaConfig)
