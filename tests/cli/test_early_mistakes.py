"""Wrong input is told before torch, transformers, lm-eval, datasets or altair are imported, in one line, with exit code 2."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from launching import ROOT, write_recipe

pytestmark = pytest.mark.medium

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

LAUNCHERS = {
    "list.yaml": "--launcher: list.yaml:1: not an accelerate configuration",
    "empty.yaml": "--launcher: empty.yaml:1: not an accelerate configuration",
    "broken.yaml": "--launcher: broken.yaml:3: not YAML",
    "number.yaml": "--launcher: number.yaml:2: num_processes: must be a whole number from 1 on, not 'foo'",
    "latin.yaml": "--launcher: latin.yaml:1: is not UTF-8 text (byte 0xe9 at offset 5 of the file)",
}
_CONTENT = [b"- use_cpu\n", b"", b"use_cpu: true\ngpu_ids: [\n", b"use_cpu: true\nnum_processes: foo\n", b"# caf\xe9\n"]

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
        (["train", recipe, "--launcher", "gone.yaml"], "--launcher: gone.yaml: no such file"),
        *((["train", recipe, "--launcher", name], said) for name, said in LAUNCHERS.items()),
        (["train", recipe, "name=untouched", "corpus.paths=[gone.jsonl]"], "corpus.paths: gone.jsonl: no such file"),
        (["train", recipe, "corpus.dev_paths=[gone.txt]"], "corpus.dev_paths: gone.txt: no such file"),
        (["train", recipe, "corpus.decontaminate=[gone]"], "corpus.decontaminate: gone: no such file"),
        (
            ["train", recipe, "corpus={name: mine, paths: null, sources: {one: {paths: [gone.txt]}}}"],
            "corpus.sources.one.paths: gone.txt: no such file",
        ),
        (["train", recipe, "publish.to=hub"], "publish.namespace: missing"),
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
        (["eval", "nope", "--follow", "--tasks", "lmeff_synthetic"], "--follow: nope is no run folder"),
        (["eval", model, "--follow", "--tasks", "lmeff_synthetic"], "model is no run folder"),
        (
            ["eval", model, "--tasks", "lmeff_synthetic", "--exact", "--precision", "adaptive"],
            "--exact: is lm-eval's own",
        ),
        (["eval", run, "--tasks", "lmeff_synthetic", "--limit", "3"], "--limit: a part's results would replace"),
        (["eval", run, "--tasks", "lmeff_synthetic", "--limit", "3", "--publish"], "--limit: a part's results"),
        (["eval", model, "--tasks", "lmeff_synthetic", "--limit", "3", "--publish"], "--publish: the scores of a part"),
        (["eval", model, "--tasks", "lmeff_synthetic", "--publish"], "is not on the Hub; lmeff publish"),
        (["finetune", run, "--tasks", "rte", "--limit", "3"], "--limit: a part's results would replace"),
        (["perplexity", "gone"], absent),
        (
            ["perplexity", model, "--stride", "100", "--length", "10"],
            "--stride: 100 must be below the length of a window",
        ),
        (["perplexity", model, "--length", "1"], "--length: 1 token"),
        (["perplexity", model, "--stride", "9", "--way", "packed"], "--stride: packed windows lie side by side"),
        (["perplexity", model, "--split", "dev", "--text", "a.txt"], "--split: is of a run's own corpus"),
        (["perplexity", model, "--name", "mine"], "--name: names the results of other text"),
        (["perplexity", run, "--limit-tokens", "1k"], "--limit-tokens: a part's results would replace"),
        (["perplexity", "someone/model"], "a model of the Hub brings no text"),
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
        (
            ["probe", "lr", recipe, "--steps", "12"],
            "--steps 12: too few to find a rate between 1e-06 and 1; 60 are needed",
        ),
        (["probe", "lr", recipe, "--first", "1e-2", "--last", "1e-3"], "--last 0.001: must be more than --first, 0.01"),
        (["probe", "overfit", recipe, "corpus.paths=[gone.jsonl]"], "gone.jsonl: no such file"),
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "model" / "model.safetensors").touch()
    (tmp_path / "run" / "revisions").mkdir(parents=True)
    for name, content in zip(LAUNCHERS, _CONTENT, strict=True):
        (tmp_path / name).write_bytes(content)
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
    assert not (folder / "outputs" / "untouched").exists()


def test_tasks_of_lm_eval_and_of_ones_own_are_known_without_it(tmp_path: Path) -> None:
    from lmeff.evaluation.tasks.lm_eval_names import certainly_unknown

    (tmp_path / "mine.yaml").write_text("task: 'my_task'\n")
    unknown, written = certainly_unknown(["hellaswag", "mmlu", "blimp", "my_task", "hellaswagg"], str(tmp_path))
    assert unknown == ["hellaswagg"]
    assert {"hellaswag", "my_task"} <= written
