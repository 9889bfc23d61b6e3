"""Norms, ranks and similarity of weights: on matrices whose values are known, and at the anchors of a real run."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluation.small_models import save_model, write_anchor
from launching import environment, train_here
from models.tiny_recipe import recipe
from safetensors.torch import load_file, save_file

from lmeff.analysis import curves_csv, curves_json, read_runs
from lmeff.cli import main
from lmeff.errors import InputError
from lmeff.measures.weights.statistics import Weights, compare, effective_and_stable_rank, kind_of, norms_and_ranks
from lmeff.models.build import build_model
from lmeff.publishing.cards import own_results, refresh_card

RECIPE = """
name: tiny
corpus: {{name: stories, paths: ['{folder}/text.jsonl'], dev_paths: ['{folder}/dev.txt'], epochs: 9}}
tokenizer: {{vocab_size: 300}}
model: {{hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 2}}
batch: {{tokens: 256, sequence_length: 32}}
anchors: {{tokens: [0, 512, 1024, 2048]}}
optimizer: {{learning_rate: 1e-2}}
schedule: {{warmup: 1 steps}}
training: {{logging_steps: 1}}
checkpoints: {{every_steps: 2}}
paths: {{outputs: '{folder}/outputs', data: '{folder}/data'}}
"""


def write_model(folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
    folder.mkdir(parents=True)
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A run with four anchors and no tasks, as the default recipe makes it."""
    folder = tmp_path_factory.mktemp("run")
    lines = [json.dumps({"text": f"Number {index} is a number, and so is number {index + 1}."}) for index in range(200)]
    (folder / "text.jsonl").write_text("\n".join(lines))
    (folder / "dev.txt").write_text("Number 900 is a number too.")
    (folder / "tiny.yaml").write_text(RECIPE.format(folder=folder))
    assert train_here([str(folder / "tiny.yaml")]) == 0
    return folder / "outputs" / "tiny" / "seed-0"


def metrics_of(run_folder: Path, revision: str, task: str) -> dict[str, float]:
    (values,) = json.loads((run_folder / "results" / revision / f"{task}.json").read_text())["results"].values()
    return {key.removesuffix(",none"): value for key, value in values.items() if key != "alias"}


def test_ranks_of_known_matrices():
    orthogonal = torch.linalg.qr(torch.randn(40, 40, dtype=torch.float64)).Q.float()
    assert effective_and_stable_rank(3 * orthogonal) == pytest.approx((40, 40), rel=1e-5)
    rank_one = torch.outer(torch.randn(50), torch.randn(30))
    assert effective_and_stable_rank(rank_one) == pytest.approx((1, 1), rel=1e-3)
    assert effective_and_stable_rank(torch.zeros(3, 4)) == (0.0, 0.0)


@pytest.mark.parametrize("shape", [(64, 64), (200, 24), (24, 200)])
def test_ranks_are_those_of_numpys_singular_values(shape: tuple[int, int]):
    # Singular values fall over nine orders of magnitude, which is where squaring them could do harm.
    left, right = (np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0] for seed, n in enumerate(shape))
    values = np.logspace(0, -9, min(shape))
    matrix = (left[:, : len(values)] * values) @ right[: len(values)]
    shares = values / values.sum()
    expected = np.exp(-(shares * np.log(shares)).sum()), (values**2).sum() / values.max() ** 2
    assert effective_and_stable_rank(torch.from_numpy(matrix).float()) == pytest.approx(expected, rel=1e-4)


def test_norms_and_similarity_are_numpys_by_kind(tmp_path: Path):
    save_model(tmp_path / "a", num_hidden_layers=2)
    arrays = {name: value.double().numpy() for name, value in load_file(tmp_path / "a" / "model.safetensors").items()}
    noise = np.random.default_rng(0)
    moved = {name: value + 1e-3 * noise.normal(size=value.shape) for name, value in arrays.items()}
    write_model(tmp_path / "b", {name: torch.from_numpy(value).float() for name, value in moved.items()})
    moved = {name: torch.from_numpy(value).float().double().numpy() for name, value in moved.items()}
    found, num_matrices = norms_and_ranks(Weights(tmp_path / "a"))
    near = compare(Weights(tmp_path / "a"), Weights(tmp_path / "b"))
    assert num_matrices == 2 * 7 + 2
    parts = {
        "": "",
        "_attention": "self_attn",
        "_mlp": "mlp",
        "_embedding": "embed",
        "_head": "lm_head",
        "_norm": "norm",
    }
    for kind, word in parts.items():
        ours, theirs = (np.concatenate([part[n].ravel() for n in arrays if word in n]) for part in (arrays, moved))
        assert found[f"norm{kind}"] == pytest.approx(np.linalg.norm(ours), rel=1e-9)
        cosine = ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs)
        assert near[f"cosine{kind}"] == pytest.approx(cosine, abs=1e-9)
        change = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
        assert near[f"change{kind}"] == pytest.approx(change, rel=1e-5)
    attention = [effective_and_stable_rank(torch.from_numpy(arrays[n]))[0] for n in arrays if "self_attn" in n]
    assert found["effective_rank_attention"] == pytest.approx(np.mean(attention), rel=1e-9)


MEASURE = """
import sys
from pathlib import Path
from lmeff.measures.weights.statistics import Weights, norms_and_ranks
print(norms_and_ranks(Weights(Path(sys.argv[1]))))
"""


@pytest.mark.medium
def test_the_number_of_threads_does_not_show(tmp_path: Path):
    """Two threads round the sum of a large matrix otherwise than one does."""
    generator = torch.Generator().manual_seed(0)
    matrices = {f"layers.{n}.mlp.weight": torch.randn(320, 32, generator=generator) for n in range(20)}
    command = [sys.executable, "-c", MEASURE, str(write_model(tmp_path / "model", matrices))]
    said = {
        subprocess.run(
            command, env=environment() | {"OMP_NUM_THREADS": number}, capture_output=True, text=True, check=True
        ).stdout
        for number in ("1", "2")
    }
    assert len(said) == 1
    assert "norm_mlp" in said.pop()


def test_a_model_is_like_itself_and_unlike_its_negative(tmp_path: Path):
    save_model(tmp_path / "a")
    weights = Weights(tmp_path / "a")
    itself = compare(weights, weights)
    assert itself["cosine"] == pytest.approx(1)
    assert itself["change"] == 0
    negative = {name: -value for name, value in load_file(tmp_path / "a" / "model.safetensors").items()}
    against = compare(weights, Weights(write_model(tmp_path / "b", negative)))
    assert against["cosine"] == pytest.approx(-1)
    assert against["change"] == pytest.approx(2)


def test_tied_embeddings_count_once_however_they_are_saved(tmp_path: Path):
    embedding = torch.randn(30, 8)
    layer = {"model.layers.0.mlp.up_proj.weight": torch.randn(16, 8)}
    once = write_model(tmp_path / "once", {"model.embed_tokens.weight": embedding, **layer})
    twice = {"model.embed_tokens.weight": embedding, "lm_head.weight": embedding.clone(), **layer}
    assert norms_and_ranks(Weights(write_model(tmp_path / "twice", twice))) == norms_and_ranks(Weights(once))
    untied = {**twice, "lm_head.weight": torch.randn(30, 8)}
    assert norms_and_ranks(Weights(write_model(tmp_path / "untied", untied)))[1] == 3


def test_xlnets_matrices_are_those_of_its_heads_together(tmp_path: Path):
    """One in three dimensions for all heads, and a bias with a row for each."""
    whole = torch.randn(12, 12, generator=torch.Generator().manual_seed(0))
    name = "transformer.layer.0.rel_attn"
    by_heads = Weights(
        write_model(tmp_path / "xlnet", {f"{name}.q": whole.reshape(12, 3, 4), f"{name}.r_w_bias": torch.ones(3, 4)})
    )
    metrics, num_matrices = norms_and_ranks(by_heads)
    assert num_matrices == 1
    assert metrics["stable_rank_attention"] == pytest.approx(
        float(whole.square().sum() / torch.linalg.matrix_norm(whole, 2) ** 2)
    )


def test_buffers_and_whole_numbers_are_no_parameters(tmp_path: Path):
    layer = {"h.0.attn.c_attn.weight": torch.randn(8, 24), "h.0.attn.c_attn.bias": torch.randn(24)}
    buffers = {"h.0.attn.bias": torch.ones(1, 1, 4, 4), "rotary.inv_freq": torch.ones(4), "ids": torch.arange(3)}
    assert set(Weights(write_model(tmp_path / "gpt2", layer | buffers)).shapes) == set(layer)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("model.layers.0.self_attn.q_proj.weight", "attention"),
        ("model.layers.0.self_attn.q_norm.weight", "norm"),
        ("model.layers.0.post_attention_layernorm.weight", "norm"),
        ("model.layers.3.mlp.down_proj.weight", "mlp"),
        ("model.norm.weight", "norm"),
        ("lm_head.weight", "head"),
        ("transformer.wte.weight", "embedding"),
        ("wpe.weight", "embedding"),
        ("transformer.h.0.ln_1.bias", "norm"),
        ("transformer.ln_f.weight", "norm"),
        ("transformer.h.0.attn.c_proj.weight", "attention"),
        ("gpt_neox.embed_in.weight", "embedding"),
        ("embed_out.weight", "head"),
        ("gpt_neox.layers.0.attention.dense.weight", "attention"),
        ("gpt_neox.layers.0.mlp.dense_h_to_4h.weight", "mlp"),
        ("model.decoder.layers.0.fc1.weight", "mlp"),
        ("model.decoder.embed_positions.weight", "embedding"),
        ("bert.encoder.layer.0.attention.output.LayerNorm.weight", "norm"),
        ("bert.encoder.layer.0.output.dense.weight", "mlp"),
        ("backbone.layers.0.mixer.in_proj.weight", "other"),
        ("cls.predictions.transform.dense.weight", "head"),
        ("decoder.bias", "head"),
        ("model.layers.0.attn.Wqkv.weight", "attention"),
        ("transformer.layer.0.rel_attn.seg_embed", "attention"),
        ("transformer.layer.0.ff.layer_1.weight", "mlp"),
        ("transformer.mask_emb", "embedding"),
        ("lm_loss.bias", "head"),
    ],
)
def test_kinds_by_the_names_of_the_field(name: str, kind: str):
    assert kind_of(name) == kind


def test_other_parameters_and_damaged_files_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture):
    one = write_model(tmp_path / "one", {"a.weight": torch.ones(2, 2)})
    other = write_model(tmp_path / "other", {"a.weight": torch.ones(2, 3)})
    with pytest.raises(InputError, match="their parameters differ"):
        compare(Weights(one), Weights(other))
    (other / "model.safetensors").write_bytes(b"broken")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.json").write_text("{}")
    words = ["weights", str(one), str(other), str(tmp_path / "empty"), "--output", str(tmp_path / "out")]
    assert main(words) == 1
    said = capsys.readouterr()
    assert "other: cannot be scored:" in said.out
    assert "not readable as safetensors" in said.out
    assert "empty: cannot be scored:" in said.out
    assert "holds no safetensors weights" in said.out
    assert "2 of 3 models" in said.err
    assert "Traceback" not in said.err
    assert (tmp_path / "out" / "one" / "weights.json").exists()
    assert [line.split()[0] for line in said.out.splitlines()[-2:]] == ["model", "one"]
    assert main([*words, "--json"]) == 1
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == ["one"]


def test_the_table_shows_the_ranks_of_every_kind_that_there_is(tmp_path: Path, capsys: pytest.CaptureFixture):
    """Matrices of a Mamba-2 are in no attention, and in no feed-forward network."""
    settings = recipe(family="mamba2", hidden_size=32, num_hidden_layers=2, state_size=8, head_dim=16)
    build_model(settings).save_pretrained(tmp_path / "mamba")
    save_model(tmp_path / "llama")

    def table(*names: str) -> list[list[str]]:
        paths = [str(tmp_path / name) for name in names]
        assert main(["weights", *paths, "--output", str(tmp_path / f"of_{'_'.join(names)}")]) == 0
        return [re.split(r"  +", line.strip()) for line in capsys.readouterr().out.splitlines()[-len(names) - 1 :]]

    title, mamba = table("mamba")
    assert title[2:6] == ["norm", "effective rank, other", "stable rank, other", "change"]
    found = json.loads((tmp_path / "of_mamba" / "weights.json").read_text())["results"]["weights"]
    assert mamba[3:5] == [f"{found[f'{which}_rank_other,none']:.4g}" for which in ("effective", "stable")]
    title, llama = table("llama")
    assert title[3:7] == ["effective rank, attention", "mlp", "stable rank, attention", "mlp"]
    title, *both = table("mamba", "llama")
    assert title[3:9] == ["effective rank, attention", "mlp", "other", "stable rank, attention", "mlp", "other"]
    assert [both[0][3:9], both[1][3:9]] == [
        ["-", "-", mamba[3], "-", "-", mamba[4]],
        [*llama[3:5], "-", *llama[5:7], "-"],
    ]


def test_a_parameter_that_is_not_finite_is_named(tmp_path: Path):
    folder = write_model(tmp_path / "model", {"a.weight": torch.ones(3, 3), "b.weight": torch.full((3, 3), torch.nan)})
    with pytest.raises(InputError, match=r"model: b\.weight holds numbers that are not finite"):
        norms_and_ranks(Weights(folder))


def test_a_model_folder_is_not_compared_with_those_beside_it(tmp_path: Path):
    for index, name in enumerate(("first", "second", "last")):
        write_model(tmp_path / "models" / name, {"a.weight": torch.ones(2, 2) + index})
        write_anchor(tmp_path / "models" / name, index, "second" if name == "last" else None)
    assert main(["weights", str(tmp_path / "models" / "second"), "--output", str(tmp_path / "out")]) == 0
    assert json.loads((tmp_path / "out" / "weights.json").read_text())["compared_with"] == {}
    assert not (tmp_path / "out" / "similarity.json").exists()
    (tmp_path / "models").rename(tmp_path / "revisions")
    assert main(["weights", str(tmp_path / "revisions" / "second"), "--output", str(tmp_path / "own")]) == 0
    assert set(json.loads((tmp_path / "own" / "weights.json").read_text())["compared_with"]) == {"previous", "initial"}
    assert (tmp_path / "own" / "similarity.json").exists()


@pytest.mark.medium
def test_a_run_measures_every_anchor_and_at_its_end_the_similarity_to_the_final_one(finished: Path):
    revisions = [f"seed-0-tokens-{tokens}" for tokens in (0, 512, 1024, 2048)]
    assert sorted(path.name for path in (finished / "results").iterdir()) == sorted(revisions)
    first, *_, last = (metrics_of(finished, name, "weights") for name in revisions)
    assert "cosine_to_previous" not in first
    assert first["norm"] > 0
    assert first["effective_rank_mlp"] <= 32
    assert last["cosine_to_initial"] < last["cosine_to_previous"] < 1
    assert last["change_from_previous"] > 0
    to_final = [metrics_of(finished, name, "similarity") for name in revisions]
    assert to_final[-1]["cosine_to_final"] == pytest.approx(1)
    assert to_final[-1]["change_from_final"] == 0
    assert to_final[0]["cosine_to_final"] == pytest.approx(last["cosine_to_initial"])
    assert to_final[0]["cosine_to_final"] < to_final[2]["cosine_to_final"]
    weights = json.loads((finished / "results" / revisions[2] / "weights.json").read_text())
    assert weights["compared_with"] == {"previous": revisions[1], "initial": revisions[0]}


@pytest.mark.medium
def test_what_a_killed_run_left_unmeasured_is_filled_in(finished: Path, capsys: pytest.CaptureFixture):
    results = finished / "results" / "seed-0-tokens-1024"
    paths = [results / "weights.json", results / "similarity.json"]
    before = [path.read_text() for path in paths]
    others = finished / "results" / "seed-0-tokens-2048" / "weights.json"
    untouched = others.stat().st_mtime_ns
    paths[0].unlink()
    paths[1].write_text("half a fi")
    assert main(["weights", str(finished)]) == 0
    assert [path.read_text() for path in paths] == before
    assert others.stat().st_mtime_ns == untouched
    table = capsys.readouterr().out.splitlines()
    assert table[0].split()[:2] == ["model", "tokens"]
    assert len(table) == 5


@pytest.mark.medium
def test_measuring_changes_nothing_of_training(finished: Path, tmp_path: Path):
    recipe = finished.parents[2] / "tiny.yaml"
    assert train_here([str(recipe), "evaluation.weights=false", f"paths.outputs={tmp_path}"]) == 0
    plain = tmp_path / "tiny" / "seed-0"
    assert not (plain / "results").exists()
    for name in ("seed-0", "seed-0-tokens-512"):
        hashes = [json.loads((one / "revisions" / name / "anchor.json").read_text()) for one in (finished, plain)]
        assert hashes[0]["weights_sha256"] == hashes[1]["weights_sha256"]


@pytest.mark.medium
def test_a_failure_to_measure_is_a_line_and_not_the_end_of_a_run(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    (tmp_path / "tiny" / "seed-0").mkdir(parents=True)
    (tmp_path / "tiny" / "seed-0" / "results").write_text("a file where the folder should be")
    recipe = finished.parents[2] / "tiny.yaml"
    assert train_here([str(recipe), "anchors.tokens=[0, 512]", f"paths.outputs={tmp_path}"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "its weights were not measured" in line]
    assert lines
    assert lines[0].startswith("seed-0-tokens-0: ")


@pytest.mark.medium
def test_measures_are_in_the_tidy_table_but_are_no_scores(finished: Path):
    runs = read_runs([finished])
    assert runs[0].tasks == ()
    assert runs[0].headline_tasks == ()
    assert "effective_rank_attention" in curves_csv(runs)
    assert curves_json(runs)["runs"][0]["anchors"][-1]["weights"]["cosine_to_final"] == pytest.approx(1)
    revision = finished / "revisions" / "seed-0-tokens-2048"
    sha256 = json.loads((revision / "anchor.json").read_text())["weights_sha256"]
    assert own_results(finished / "results" / revision.name, sha256) == []
    refresh_card(finished, revision)
    assert "weights (" not in (revision / "README.md").read_text()
    assert "<h2>Weights</h2>" in (finished / "report.html").read_text()
