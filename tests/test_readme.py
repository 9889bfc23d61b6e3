"""The README's own commands, run as it writes them; only what would take minutes is made shorter."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lmeff.cli import _parser

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
SHORTER = [
    "tokenizer.vocab_size=1000",
    "model.hidden_size=32",
    "batch.tokens=1024",
    "anchors.tokens=[0,10k,20k]",
    "schedule.warmup=5 steps",
    "evaluation.limit=2",
    "evaluation.dev_tokens=5000",
]
SHORTER_VERBS = {
    "lm_eval": "--limit 2 --device cpu",
    "lmeff lm-eval": "--limit 2 --device cpu",
    "lmeff perplexity": "--limit-tokens 5k --output part",
    "lmeff finetune": "--limit 8 --output part",
}


def commands() -> list[str]:
    """The lines of all bash blocks."""
    return [
        line for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL) for line in block.splitlines() if line
    ]


def test_the_commands_are_there() -> None:
    found = commands()
    assert found[:2] == ["bash launchers/quickstart.sh", "bash launchers/test.sh"]
    assert any("leaner_small.yaml" in line for line in found)
    assert any(line.startswith("lm_eval run") for line in found)


@pytest.mark.slow
def test_the_commands_do_what_they_say(shared_data: Path, tmp_path: Path) -> None:
    """All but the two scripts, in the README's order, in a folder that has the recipes and launchers of a clone."""
    for name in ("recipes", "launchers"):
        (tmp_path / name).symlink_to(ROOT / name)
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
    }
    printed = []
    for line in commands()[2:]:
        line = line.replace("../shared/data", str(shared_data))
        if "lmeff.run" in line:
            line += " " + " ".join(f"'{word}'" for word in SHORTER)
        line += "".join(f" {words}" for verb, words in SHORTER_VERBS.items() if line.startswith(verb))
        answer = subprocess.run(
            line, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600, check=False
        )
        assert answer.returncode == 0, f"{line}\n{answer.stdout}\n{answer.stderr}"
        printed.append(answer.stdout)
    run, curves, report, plan, scores, evaluated, fast_scores, tokenizers, *models = printed
    perplexity, texts, weights, profile, tuned = models
    assert evaluated.count("lmeff_synthetic") >= 2
    assert "lmeff_synthetic" in fast_scores
    assert "seed-0-tokens-20k" in perplexity
    assert "distinct-1" in texts
    assert "leaner_rte" in tuned
    assert "norm" in weights
    assert "parameters" in profile
    assert "report: outputs/leaner_small/seed-0/report.html" in run
    assert "20k" in curves
    assert "lmeff_blimp" in curves
    assert report.strip() == "report.html"
    assert (tmp_path / "report.html").stat().st_size > 100_000
    assert "232,945,920 parameters" in plan
    assert "lmeff_synthetic" in scores
    assert re.search(r"```\n(web: .*?)\n```", README, re.DOTALL)[1] in tokenizers


def test_every_verb_is_in_the_table_and_every_row_is_a_verb() -> None:
    rows = re.findall(r"^\| `lmeff ([\w-]+)", README, re.MULTILINE)
    (verbs,) = (action.choices for action in _parser()._actions if action.choices)
    assert sorted(rows) == sorted(verbs)


def test_every_file_that_is_named_exists() -> None:
    named = set(re.findall(r"\]\(([^)#:]+)\)", README)) | set(
        re.findall(r"(?:recipes|launchers|tests)/[\w/]+\.\w+", README)
    )
    missing = [name for name in named if not (ROOT / name).exists() and "NAME" not in name]
    assert missing == []
