"""Wrong input is told before torch, transformers, lm-eval, datasets or altair are imported, in one line, with exit code 2."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.launching import ROOT, write_recipe

HEAVY = [
    "accelerate",
    "altair",
    "datasets",
    "deepspeed",
    "evaluate",
    "lm_eval",
    "scipy",
    "sklearn",
    "torch",
    "transformers",
]

PROGRAM = """
import contextlib, io, json, sys, time
from lmeff import cli, run
found = []
for words in json.load(sys.stdin):
    said, begun = io.StringIO(), time.perf_counter()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            code = run.main(words[1:]) if words[0] == "run" else cli.main(words)
        except SystemExit as end:
            code = end.code
    heavy = [name for name in sys.argv[1:] if name in sys.modules]
    found.append((words, code, said.getvalue(), heavy, time.perf_counter() - begun))
    if heavy:
        break
print(json.dumps(found))
"""


def cases(folder: Path, recipe: Path, model: Path, run: Path) -> list[tuple[list[str], str]]:
    """Words of a command line, and what is said to them."""
    absent = "gone: no such folder"
    own, other = (
        "no evaluation task 'lmeff_blimb'; did you mean 'lmeff_blimp'?",
        "no evaluation task 'hellaswagg'; did you mean",
    )
    recipe, model, run = str(recipe), str(model), str(run)
    return [
        (["run", "none.yaml"], "no such file"),
        (["run", recipe, "corpus.paths=[gone.jsonl]"], "gone.jsonl: no such file"),
        (["run", recipe, "evaluation.tasks=[lmeff_blimb]"], own),
        (["run", recipe, "evaluation.tasks=[hellaswagg]"], other),
        (["run", recipe, "evaluation.tasks=[lmeff_blimp]", "evaluation.paths.blimp=gone"], "gone: no such folder"),
        (["run", recipe, "evaluation.include_path=gone"], "gone: no such folder (evaluation.include_path)"),
        (["run", recipe, "batch.micro=3"], "batch.micro: 3 does not divide"),
        (["run", recipe, "training.report_to=tensorbord"], "did you mean 'tensorboard'?"),
        (["train", "none.yaml"], "none.yaml"),
        (["train", recipe, "evaluation.tasks=[lmeff_blimb]"], own),
        (["train", recipe, "training.report_to=neptune"], "pip install neptune"),
        (["train", recipe, "--launcher", "cpuu"], "did you mean 'cpu'?"),
        (["plan", "none.yaml"], "no such file"),
        (["plan", recipe, "modle.size=20m"], "did you mean"),
        (["plan", recipe, "evaluation.tasks=[lmeff_blimb]"], f"command line: evaluation.tasks=[lmeff_blimb]: {own}"),
        (
            ["plan", recipe, "evaluation.tasks=[lmeff_synthetic]", "evaluation.include_path=gone"],
            "gone: no such folder",
        ),
        (["plan", recipe, "--measure", "--gpu", "h100"], "--measure: measures this machine"),
        (["plan", recipe, "--gpu", "h1000"], "'h1000' is not one of"),
        (["prepare", recipe, "corpus.paths=[gone.jsonl]"], "gone.jsonl: no such file"),
        (["tokenizer", recipe, "--beside", "gone"], "gone: neither a tokenizer.json"),
        (["eval", "gone", "--tasks", "lmeff_blimp"], absent),
        (["eval", model], "--tasks: which?"),
        (["eval", model, "--tasks", "lmeff_blimb"], own),
        (["eval", model, "--tasks", "hellaswagg"], other),
        (["eval", model, "--tasks", "lmeff_blimp", "--path", "blimp=gone"], "gone: no such folder"),
        (["eval", model, "--tasks", "lmeff_blimp", "--include-path", "gone"], "gone: no such folder"),
        (["eval", model, "--tasks", "lmeff_synthetic", "--revisions", "seed-9"], "is one model and has no 'seed-9'"),
        (["perplexity", "gone"], absent),
        (["perplexity", model, "--text", "gone.txt"], "--text: gone.txt: no such file"),
        (["generate", "gone"], absent),
        (["generate", model, "--prompts", "gone.txt"], "--prompts: gone.txt"),
        (["finetune", "gone", "--tasks", "rte"], absent),
        (["finetune", model, "--tasks", "rtee"], "no task 'rtee'; did you mean 'rte'?"),
        (["finetune", model, "--tasks", "rte", "epochss=3"], "unknown key; did you mean 'epochs'?"),
        (["finetune", model, "--tasks", "rte", "--data", "gone"], "--data: gone: no such folder"),
        (["profile", "gone"], absent),
        (["profile", model, "gone"], absent),
        (["profile", model, "--device", "cuda"], "--device cuda: torch sees no GPU here"),
        (["eval", model, "--tasks", "lmeff_synthetic", "--device", "cuda"], "--device cuda: torch sees no GPU here"),
        (["weights", "gone"], absent),
        (["curves", "gone"], "gone: no such folder"),
        (["curves", model], "no run here"),
        (["report", model], "no run here"),
        (["report", model, "-o", "x.xyz"], "x.xyz: the ending says what is written"),
        (["status", "gone"], "gone: no such folder"),
        (["verify", "gone"], "gone: no "),
        (["publish", "gone"], "gone: no such folder"),
        (["publish", model], "not a run (no recipe.yaml)"),
        (["publish", run], "no revisions here yet"),
        (["probe", "lr", "none.yaml"], "no such file"),
        (["probe", "overfit", recipe, "corpus.paths=[gone.jsonl]"], "gone.jsonl: no such file"),
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "model" / "model.safetensors").touch()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text(write_recipe(tmp_path).read_text())
    return tmp_path


def test_wrong_input_is_told_before_anything_heavy_is_imported(folder: Path) -> None:
    wanted = cases(folder, folder / "recipe.yaml", folder / "model", folder / "run")
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
        "HF_NAMESPACE": "",
        "CUDA_VISIBLE_DEVICES": "",
    }
    environment.pop("LMEFF_EVAL_DATA", None)
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM, *HEAVY],
        input=json.dumps([words for words, _ in wanted]),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    for (words, said), (_, code, text, heavy, seconds) in zip(wanted, found, strict=False):
        assert not heavy, f"{' '.join(words)} imports {', '.join(heavy)}"
        assert code == 2, f"{' '.join(words)}: {text}"
        assert len(text.strip().splitlines()) == 1, f"{' '.join(words)}: {text}"
        assert said in text, f"{' '.join(words)}: {text}"
        assert seconds < 5, f"{' '.join(words)}: {seconds:.1f} s"  # half a second, on a machine that does nothing else
    assert len(found) == len(wanted)


def test_tasks_of_lm_eval_and_of_ones_own_are_known_without_it(tmp_path: Path) -> None:
    from lmeff.evaluation.lm_eval_names import certainly_unknown

    (tmp_path / "mine.yaml").write_text("task: 'my_task'\n")
    unknown, written = certainly_unknown(["hellaswag", "mmlu", "blimp", "my_task", "hellaswagg"], str(tmp_path))
    assert unknown == ["hellaswagg"]
    assert {"hellaswag", "my_task"} <= written
