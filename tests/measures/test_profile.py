"""`lmeff profile`: figures that must agree with each other and with the plan, and memory that is too small."""

import contextlib
import io
import json
import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluation.small_models import save_model
from torch.utils.flop_counter import FlopCounterMode
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, LlamaForCausalLM
from transformers.utils import logging

from lmeff.cli import main
from lmeff.measures.profile.counts import count_parameters_of, forward_flops_per_token
from lmeff.measures.profile.passes import forward, load_to_profile, random_tokens
from lmeff.measures.profile.profile import ProfileSettings, at_batch_size, profile_model, summarize, usable_lengths
from lmeff.measures.profile.table import profile_table
from lmeff.models.families import family_of
from lmeff.plan import make_plan
from lmeff.recipe import read_recipe

QUICK = ProfileSettings(lengths=(16, 64), batch_sizes=(1, 4), repeats=4, seconds=1)
TOO_MANY = 10**9


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    save_model(folder / "wide", hidden_size=128, num_hidden_layers=2)
    save_model(folder / "tied", tie_word_embeddings=True)
    return folder


@pytest.fixture(scope="module")
def said(models: Path, tmp_path_factory) -> tuple[list[dict], str]:
    """What a user gets of two models and one that is broken, with a length and a batch that are too much for them: the files
    and what was printed."""
    output = tmp_path_factory.mktemp("profiles")
    (models / "broken").mkdir()
    (models / "broken" / "config.json").write_text('{"model_type": "llama"}')
    words = ["--lengths", "16,64,512", "--batch-sizes", f"1,64,{TOO_MANY}", "--repeats", "12", "--seconds", "0.5"]
    names = [str(models / name) for name in ("wide", "broken", "tied")]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(["profile", *names, *words, "--device", "cpu", "--output", str(output)]) == 1
    return [
        json.loads(path.read_text()) for path in sorted(output.rglob("cpu-float32.json"), reverse=True)
    ], printed.getvalue()


@pytest.fixture(scope="module")
def profiles(said: tuple[list[dict], str]) -> list[dict]:
    return said[0]


@pytest.mark.medium
def test_figures_agree_with_each_other(profiles: list[dict]):
    assert len(profiles) == 2
    for profile in profiles:
        assert [row["length"] for row in profile["latency"]] == [16, 64]
        for row in profile["latency"]:
            keys = ("min_ms", "median_ms", "p95_ms", "p99_ms", "max_ms")
            assert [row[key] for key in keys] == sorted(row[key] for key in keys)
            assert 0 < row["min_ms"] <= row["mean_ms"] <= row["max_ms"]
            assert 3 <= row["num_passes"] <= 12
            flops = profile["forward_flops_per_token"][str(row["length"])] * row["length"]
            assert row["flops_per_second"] == pytest.approx(flops / row["median_ms"] * 1000)
        fitting = [row for row in profile["throughput"]["rows"] if row["batch_size"] < TOO_MANY]
        for row in fitting:
            assert row["tokens_per_second"] == pytest.approx(64 * row["samples_per_second"])
        best = max(fitting, key=lambda row: row["tokens_per_second"])
        assert profile["throughput"]["best_batch_size"] == best["batch_size"]
        assert profile["generation"]["tokens_per_second"] > 0
        assert profile["notes"] == ["left out: length 512, over the model's 128"]
        assert profile["machine"]["num_threads"] == torch.get_num_threads()
        assert profile["machine"]["versions"]["torch"] == torch.__version__


@pytest.mark.medium
def test_a_batch_without_room_is_a_row_and_the_rest_goes_on(profiles: list[dict]):
    for profile in profiles:
        *fitting, last = profile["throughput"]["rows"]
        assert last["batch_size"] == TOO_MANY
        assert last["error"].startswith("out of memory: its logits take 154 TB")
        assert all("error" not in row for row in fitting)


@pytest.mark.medium
def test_peak_memory_grows_by_what_a_batch_needs(profiles: list[dict]):
    least, most = (row["peak_above_idle_bytes"] for row in profiles[0]["throughput"]["rows"][:2])
    logits = 63 * 64 * 600 * 4
    assert logits < most - least < 10 * logits
    assert profiles[0]["throughput"]["rows"][1]["peak_bytes"] > most + 100e6  # the program itself


@pytest.mark.medium
def test_a_real_failure_to_allocate_is_out_of_memory(models: Path):
    model = load_to_profile(models / "tied", "float32").eval()
    before = resource.getrlimit(resource.RLIMIT_AS)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + 300_000_000, before[1]))
    try:
        assert at_batch_size(model, 8_000, 128, QUICK) == {"error": "out of memory"}
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert at_batch_size(model, 2, 128, QUICK)["tokens_per_second"] > 0


@pytest.mark.medium
def test_what_a_gpu_raises_is_out_of_memory_and_other_errors_are_not(models: Path):
    model = load_to_profile(models / "tied", "float32").eval()

    def fail(module: torch.nn.Module, inputs: tuple, options: dict) -> None:
        if options["input_ids"].shape[0] == 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        if options["input_ids"].shape[0] == 8:
            raise RuntimeError("another mistake")

    model.register_forward_pre_hook(fail, with_kwargs=True)
    assert at_batch_size(model, 4, 16, QUICK) == {"error": "out of memory"}
    assert at_batch_size(model, 5, 16, QUICK)["samples_per_second"] > 0
    with pytest.raises(RuntimeError, match="another mistake"):
        at_batch_size(model, 8, 16, QUICK)


@pytest.mark.medium
def test_parameters_are_transformers_and_tied_ones_count_once(profiles: list[dict], models: Path):
    for profile, name in zip(profiles, ("wide", "tied"), strict=True):
        model = LlamaForCausalLM.from_pretrained(models / name)
        counts = profile["parameters"]
        assert counts["total"] == counts["trainable"] == model.num_parameters()
        embedding = 600 * model.config.hidden_size
        assert counts["embedding"] == (embedding if name == "tied" else 2 * embedding)
        assert counts["non_embedding"] == counts["total"] - counts["embedding"]
        assert profile["weights_bytes"] == 4 * counts["total"]
        model.lm_head.weight.requires_grad_(False)
        assert count_parameters_of(model)["trainable"] == counts["total"] - embedding


def test_flops_are_a_third_of_the_plans_and_what_torch_counts(models: Path):
    recipe = read_recipe(Path(__file__).parents[2] / "recipes" / "quickstart.yaml").recipe
    family, plan = family_of(recipe), make_plan(recipe)
    config = LlamaForCausalLM.config_class(
        **{
            name: getattr(family, name)
            for name in ("hidden_size", "intermediate_size", "num_hidden_layers", "vocab_size")
        },
        num_attention_heads=family.num_attention_heads,
    )
    model = LlamaForCausalLM._from_config(config, attn_implementation="eager")
    assert forward_flops_per_token(model, 64)[0] == plan.flops_per_token / 3
    with FlopCounterMode(display=False) as counter:
        forward(model, random_tokens(model, 1, 64))
    assert counter.get_total_flops() / 64 == plan.flops_per_token / 3
    assert count_parameters_of(model)["total"] == family.count_parameters().total


def test_flops_of_another_architecture_are_counted():
    layers, width, vocab, length = 3, 48, 500, 32
    config = GPTNeoXConfig(
        num_hidden_layers=layers,
        hidden_size=width,
        intermediate_size=4 * width,
        num_attention_heads=4,
        vocab_size=vocab,
        max_position_embeddings=64,
    )
    model = GPTNeoXForCausalLM(config).eval()
    flops, source = forward_flops_per_token(model, length)
    assert flops == pytest.approx(2 * (12 * layers * width**2 + vocab * width) + 4 * layers * width * length)
    assert source == "torch.utils.flop_counter"
    assert model.config._attn_implementation == "sdpa"


def test_percentiles_are_numpys():
    seconds = list(np.random.default_rng(0).exponential(size=100))
    found = summarize(seconds)
    assert found["p99_ms"] == pytest.approx(1000 * np.quantile(seconds, 0.99))
    assert found["std_ms"] == pytest.approx(1000 * np.std(seconds, ddof=1))


def test_lengths_over_the_limit_leave_the_limit(models: Path):
    model = load_to_profile(models / "tied", "float32").eval()
    assert usable_lengths(model, (64, 16)) == ([16, 64], [])
    assert usable_lengths(model, (256, 512)) == (
        [128],
        ["left out: length 256, 512, over the model's 128; measured at 128"],
    )


@pytest.mark.medium
def test_a_broken_model_is_one_line_and_the_others_go_on(said: tuple[list[dict], str]):
    profiles, printed = said
    assert [Path(profile["name"]).name for profile in profiles] == ["wide", "tied"]
    assert "broken: cannot be scored:" in printed
    assert profile_table(profiles) in printed


@pytest.mark.medium
def test_one_table_of_several_models(profiles: list[dict]):
    lines = profile_table(profiles).splitlines()
    cells = {line[:34].strip(): line[34:].split() for line in lines}
    assert cells["parameters"] == [f"{profile['parameters']['total']:,}" for profile in profiles]
    assert len(cells["best batch"]) == 2
    assert sum("out of memory" in line for line in lines) == 1
    assert sum(line.endswith("left out: length 512, over the model's 128") for line in lines) == 2
    assert f"torch {torch.__version__}" in profile_table(profiles)


@pytest.mark.medium
def test_bfloat16_is_half_the_memory(models: Path):
    model = load_to_profile(models / "wide", "bfloat16")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert at_batch_size(model, 1, 16, QUICK)["tokens_per_second"] > 0


@pytest.mark.medium
def test_progress_bars_stay_as_they_were(models: Path):
    settings = ProfileSettings(lengths=(16,), batch_sizes=(1,), repeats=1, seconds=0.1, device="cpu")
    try:
        for turn in (logging.disable_progress_bar, logging.enable_progress_bar):
            turn()
            before = logging.is_progress_bar_enabled()
            profile_model(models / "tied", settings)
            assert logging.is_progress_bar_enabled() == before
    finally:
        logging.enable_progress_bar()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_one_line(models: Path, capsys: pytest.CaptureFixture):
    assert main(["profile", str(models / "wide"), "--device", "cuda"]) == 2
    assert capsys.readouterr().err.startswith("--device cuda: torch sees no GPU here")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_is_measured(models: Path):
    profile = profile_model(models / "wide", ProfileSettings(lengths=(16,), batch_sizes=(1, 64), device="cuda"))
    least, most = profile["throughput"]["rows"]
    assert most["peak_above_idle_bytes"] - least["peak_above_idle_bytes"] > 63 * 16 * 600 * 4
    assert most["peak_bytes"] > profile["weights_bytes"]
    assert profile["machine"]["gpu"]["name"] == torch.cuda.get_device_name()
