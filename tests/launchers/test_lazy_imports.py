"""A plain or DDP run needs no DeepSpeed, and with scoring off neither lm-eval nor what draws: it does not import them, and it
works where they are not installed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from launching import ROOT, run_folder, write_recipe

LEFT_ALONE = ("deepspeed", "lm_eval", "altair", "vl_convert")

# Python reads a sitecustomize.py on its path when it starts, in every process of a launch.
WITHOUT = f"""
import importlib.machinery, sys
class Finder(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {LEFT_ALONE} else super().find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = Finder
"""
LISTING = """
import atexit, os, sys
from pathlib import Path
if "lmeff.run" in sys.orig_argv and "accelerate.commands.launch" not in sys.orig_argv:
    listed = Path(os.environ["LISTED"] + os.environ.get("RANK", "0"))
    atexit.register(lambda: listed.write_text("\\n".join(sys.modules)))
"""


def train(folder: Path, customization: str, launcher: str) -> str:
    """What a run printed in which every Python process begins with the customization."""
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(customization)
    environment = os.environ | {"PYTHONPATH": f"{folder / 'site'}{os.pathsep}{ROOT}", "LISTED": str(folder / "modules")}
    recipe = write_recipe(folder)
    words = [str(recipe), "evaluation.at_anchors=false", "anchors.tokens=[0, 5000]"]
    launch = ["-m", "accelerate.commands.launch", "--quiet", "--config_file", f"launchers/{launcher}.yaml"]
    command = [sys.executable, *(launch if launcher else []), "-m", "lmeff.run", *words]
    answer = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert json.loads((run_folder(recipe) / "state.json").read_text())["state"] == "complete"
    return answer.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("launcher", "num_processes"), [("", 1), ("cpu_ddp", 2)])
def test_a_run_imports_nothing_that_it_does_not_need(tmp_path, launcher, num_processes):
    assert "report.html" in train(tmp_path, LISTING, launcher)
    for rank in range(num_processes):
        modules = set((tmp_path / f"modules{rank}").read_text().split())
        assert {"torch", "transformers"} <= modules
        assert not set(LEFT_ALONE) & modules, f"rank {rank}"


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["", "cpu_ddp"])
def test_a_run_works_where_they_are_not_installed(tmp_path, launcher):
    assert "no report: altair, vl-convert-python not installed" in train(tmp_path, WITHOUT, launcher)
