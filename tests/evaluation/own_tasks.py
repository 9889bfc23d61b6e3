"""Small tasks of one's own to fine-tune on, made on the spot."""

import json
import random
from pathlib import Path

from evaluation.small_models import NAMES, VERBS

QUICK = ["learning_rates=[3e-3]", "epochs=2", "max_length=24", "batch_size=8"]


def write_rows(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_own_tasks(folder: Path) -> None:
    """Sentences about who likes or hides from whom: easy, and the second name is a distraction. And a recipe for them."""
    chance = random.Random(0)
    rows = []
    for number in range(220):
        verb = chance.choice(["likes", "hides"])
        text = f"{chance.choice(NAMES)} {verb} {chance.choice(NAMES)} {number}"
        other = f"{chance.choice(NAMES)} {chance.choice(VERBS)}"
        rows.append(
            {
                "a": text,
                "b": other,
                "kind": "nice" if verb == "likes" else "bad",
                "worth": 4.5 if verb == "likes" else 1,
            }
        )
    write_rows(folder / "train.jsonl", rows[:160])
    write_rows(folder / "val.jsonl", rows[160:])
    files = f"{{train: {folder}/train.jsonl, validation: {folder}/val.jsonl}}"
    (folder / "own.yaml").write_text(
        "tasks:\n"
        f"  kind: {{files: {files}, columns: [a, b], label: kind, metrics: [acc, f1]}}\n"
        f"  worth: {{files: {files}, columns: [a], label: worth, regression: true}}\n"
    )
