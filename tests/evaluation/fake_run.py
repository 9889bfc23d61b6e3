"""A run folder as far as scoring looks at it."""

import json
import os
import shutil
from pathlib import Path


def fake_revision(model_folder: Path, run: Path, name: str) -> None:
    """A revision as a run leaves it, as far as scoring looks: the model, its anchor, its manifest at last."""
    folder = run / "revisions" / name
    shutil.copytree(model_folder, folder)
    tokens = {"0": 0, "1M": 1_000_000, "2M": 2_000_000}[name.rpartition("-")[2]]
    facts = dict.fromkeys(("loss", "dev_loss", "dev_perplexity", "dev_bits_per_byte"), 1.0)
    facts |= {"nominal_tokens": tokens, "exact_tokens": tokens, "step": tokens // 1000, "epoch": 0.0, "seed": 0}
    facts |= {"mode": "snapshot", "part": None, "num_skipped_steps": 0, "train_seconds": 0.0, "flops": 0.0}
    facts |= {"world_size": 1, "device": "cpu", "weights_sha256": "0" * 64, "same_as": None, "format": 1}
    (folder / "anchor.json").write_text(json.dumps(facts))
    (folder / "manifest.json").write_text(json.dumps({"format": 1, "files": {}}))


def write_recipe(run: Path, blimp: Path) -> None:
    quickstart = Path(__file__).resolve().parents[2] / "recipes" / "quickstart.yaml"
    options = {"tasks": ["lmeff_blimp_wh_island"], "paths": {"blimp": str(blimp)}}
    (run / "recipe.yaml").write_text(json.dumps({"extends": os.path.relpath(quickstart, run), "evaluation": options}))


def write_state(run: Path, state: str) -> None:
    facts = {"format": 1, "state": state, "step": 1, "tokens": 1000, "next_anchor": None, "pid": 1, "host": "here"}
    facts |= {"job": None, "error": None, "updated": "2026-01-01T00:00:00+00:00"}
    (run / "state.json").write_text(json.dumps(facts))
