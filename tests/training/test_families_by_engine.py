"""Every family, a stock decoder of no family, the hybrid and a student, under every engine: the losses and weights of plain
training, of two processes too, and the same bits after a restart.

One launch for each engine trains them all; how a step is divided differs from the plain runs.
"""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from launching import STORIES, curve, launch_in_turn, read_lines, weights
from models.tiny_families import DROPOUT, tiny_model
from safetensors.torch import load_file
from training.in_turn import run_in_turn

from lmeff.cli import main
from lmeff.formats.anchor import AnchorDocument
from lmeff.formats.manifest import ManifestDocument
from lmeff.publishing.verify import verify
from lmeff.recipe import read_recipe
from lmeff.revisions import differences
from lmeff.revisions.store import MUTABLE

pytestmark = pytest.mark.slow

RECIPE = """
name: plain
seed: 1
corpus: {{name: stories, paths: ['{folder}/stories.jsonl'], dev_share: 0.1, epochs: 5}}
tokenizer: {{vocab_size: 320}}
model: {{{model}}}
batch: {{tokens: 256, sequence_length: 32, micro: 8}}
anchors: {{tokens: [0, 768]}}
optimizer: {{learning_rate: 3e-3, epsilon: 1e-4}}
schedule: {{name: constant, warmup: 1 steps}}
training: {{logging_steps: 1, report_to: none}}
evaluation: {{dev_tokens: 500}}
paths: {{outputs: '{folder}/outputs', data: '{folder}/data'}}
"""
"""Three steps. Such an epsilon keeps Adam from following the sign of a gradient that is rounding and nothing else."""
WORDS = {family: [f"model.{field}=0.1" for field in fields] for family, fields in DROPOUT.items()}
WORDS["hybrid"] = ["objective.name=hybrid", *WORDS["llama"]]
WORDS["gpt2-hybrid"] = ["objective.name=hybrid", *WORDS["gpt2"]]
WORDS["auto"] = []
WORDS["student"] = ["distillation.teachers=[{folder}/outputs/llama-plain/seed-1/revisions/seed-1]", *WORDS["llama"]]
FAMILY = {"hybrid": "llama", "gpt2-hybrid": "gpt2", "student": "llama"}
"""Of those that aren't named after it."""
AUTO = "family: auto, config: {model_type: stablelm, hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2,"
AUTO += " num_key_value_heads: 2, intermediate_size: 64, attention_dropout: 0.1}"
"""A decoder that no other test trains."""
STOPPED = {"ddp": "modernbert", "zero1": "bert", "zero2": "xlnet", "zero3": "mamba2"}
"""What is stopped and goes on under each engine."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe of each kind and its plain run; text, tokenizer and tokens are shared."""
    folder = tmp_path_factory.mktemp("families")
    (folder / "stories.jsonl").write_text(STORIES)
    for kind in WORDS:
        model = AUTO if kind == "auto" else tiny_model(FAMILY.get(kind, kind))
        (folder / f"{kind}.yaml").write_text(RECIPE.format(folder=folder, model=model))
    assert run_in_turn([line(folder, kind, "plain") for kind in WORDS]) == [0] * len(WORDS)
    return folder


def line(folder: Path, kind: str, name: str, *more: str) -> list[str]:
    words = (word.format(folder=folder) for word in WORDS[kind])
    return [str(folder / f"{kind}.yaml"), f"name={kind}-{name}", *more, *words]


def run_folder(folder: Path, kind: str, name: str) -> Path:
    return folder / "outputs" / f"{kind}-{name}" / "seed-1"


@pytest.fixture(scope="module", params=STOPPED)
def engine(request: pytest.FixtureRequest, folder: Path) -> str:
    """An engine under which all of them were trained, two sequences at a time; one of them also in two halves. It does the
    second step of a plain run of XLNet, too."""
    engine, micro = request.param, "batch.micro=2"
    moved = line(folder, "xlnet", f"{engine}-moved", "checkpoints.keep=3")
    assert run_in_turn([["stop_at:1", *moved]]) == [0]
    halved = line(folder, STOPPED[engine], f"{engine}-halved", micro)
    lines = {kind: line(folder, kind, engine, micro) for kind in WORDS}
    lines |= {"moved": ["stop_at:2", *moved, micro], "stopped": ["stop_at:2", *halved], "gone on with": halved}
    codes, output = launch_in_turn(f"cpu_{engine}", folder / f"{engine}.json", list(lines.values()))
    assert dict(zip(lines, codes, strict=True)) == dict.fromkeys(lines, 0), output
    assert run_in_turn([moved]) == [0]
    return engine


@pytest.mark.parametrize("kind", WORDS)
def test_an_engine_trains_a_family_as_plain_training_does(folder: Path, engine: str, kind: str) -> None:
    plain, divided = (run_folder(folder, kind, name) for name in ("plain", engine))
    anchor = json.loads((divided / "revisions" / "seed-1" / "anchor.json").read_text())
    assert (anchor["engine"], anchor["world_size"]) == (engine, 2)
    assert_trained_alike(divided, plain)


def test_xlnet_goes_from_engine_to_engine(folder: Path, engine: str) -> None:
    """Checkpoints of plain training have no moments for what is for segments, those of ZeRO have some."""
    run = run_folder(folder, "xlnet", f"{engine}-moved")
    written = [json.loads((run / "checkpoints" / f"step-{step}" / "lmeff.json").read_text()) for step in (1, 2)]
    assert [(own["engine"], own["world_size"]) for own in written] == [("plain", 1), (engine, 2)]
    assert_trained_alike(run, run_folder(folder, "xlnet", "plain"))


def test_a_stopped_run_goes_on_to_the_same_bits_under_an_engine(folder: Path, engine: str) -> None:
    kind = STOPPED[engine]
    halved = run_folder(folder, kind, f"{engine}-halved")
    assert json.loads((halved / "checkpoints" / "step-2" / "lmeff.json").read_text())["engine"] == engine
    assert_same_bits(halved, run_folder(folder, kind, engine))


@pytest.mark.parametrize("kind", WORDS)
def test_losses_do_not_depend_on_the_micro_batch(folder: Path, kind: str) -> None:
    assert run_in_turn([line(folder, kind, "divided", "batch.micro=2")]) == [0]
    assert_trained_alike(run_folder(folder, kind, "divided"), run_folder(folder, kind, "plain"))


def test_the_readme_has_a_row_for_each_of_them(folder: Path) -> None:
    page = (Path(__file__).parents[2] / "lmeff" / "training" / "README.md").read_text()
    _, _, after = page.partition("| family | objective | plain |")
    header, _, *lines = after.partition("\n\n")[0].splitlines()
    assert re.findall(r"\w+", header) == list(STOPPED)
    rows = [re.fullmatch(r"\| `(\w+)`[^|]* \| (\w+) \|( yes \|){5}", one) for one in lines]
    recipes = [read_recipe(words[0], words[1:]).recipe for words in (line(folder, kind, "plain") for kind in WORDS)]
    assert {row.group(1, 2) for row in rows if row} == {(one.model.family, one.objective_name) for one in recipes}
    assert len(lines) == len(WORDS) - 1, "a student is a Llama"


@pytest.mark.parametrize("kind", WORDS)
def test_a_stopped_run_goes_on_to_the_same_bits(folder: Path, kind: str) -> None:
    halved = line(folder, kind, "halved")
    assert run_in_turn([["stop_at:2", *halved]]) == [0]
    run = run_folder(folder, kind, "halved")
    assert [step for step, *_ in curve(run)] == [1, 2]
    assert run_in_turn([halved]) == [0]
    assert_same_bits(run, run_folder(folder, kind, "plain"))


@pytest.mark.parametrize("kind", WORDS)
def test_verify_takes_held_out_losses_again(folder: Path, kind: str, capsys: pytest.CaptureFixture) -> None:
    """Also the one of the first step, of two."""
    assert main(["verify", str(run_folder(folder, kind, "plain"))]) == 0
    assert "2 models load and have the held-out loss that was recorded" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["bert", "xlnet", "hybrid"])
def test_verify_finds_a_held_out_loss_that_is_another(folder: Path, kind: str, tmp_path: Path) -> None:
    run = Path(shutil.copytree(run_folder(folder, kind, "plain"), tmp_path / "run"))
    revision = run / "revisions" / "seed-1-tokens-0"
    anchor = AnchorDocument.read(revision)
    assert anchor.held_out is not None
    name, loss = anchor.held_out
    values = json.loads((revision / "anchor.json").read_text())
    (revision / "anchor.json").write_text(json.dumps(values | {name: 1.01 * loss}))
    ManifestDocument.of(revision, exclude=MUTABLE).write(revision)
    (said,), _ = verify(run)
    assert said.startswith(f"{revision}: its weights give a held-out loss of {loss:.3f}"[:-1])
    assert said.endswith(f"; anchor.json says {1.01 * loss:.4f}")


def counts(run: Path) -> list[int]:
    return [one["num_loss_tokens"] for one in read_lines(run / "run.log.jsonl")]


def assert_same_bits(run: Path, whole: Path) -> None:
    assert (curve(run), counts(run), weights(run)) == (curve(whole), counts(whole), weights(whole))
    assert len(counts(run)) == 3
    assert len(weights(run)) == 3


def assert_trained_alike(divided: Path, plain: Path) -> None:
    steps, wanted = curve(divided), curve(plain)
    assert counts(divided) == counts(plain)
    assert [step for step, *_ in steps] == [1, 2, 3]
    assert [loss for _, loss, *_ in steps] == pytest.approx([loss for _, loss, *_ in wanted], abs=1e-5)
    assert differences(divided / "revisions" / "seed-1") == []
    before, after, found = (
        load_file(folder / "model.safetensors")
        for folder in (
            plain / "revisions" / "seed-1-tokens-0",
            plain / "revisions" / "seed-1",
            divided / "revisions" / "seed-1",
        )
    )
    assert found.keys() == after.keys()
    moved = max((after[name] - before[name]).abs().max().item() for name in after)
    assert moved > 1e-3, "a comparison of weights that training left alone says nothing"
    for name, weight in after.items():
        torch.testing.assert_close(
            found[name], weight, rtol=0, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )
