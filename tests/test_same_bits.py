"""`tests/benchmarks/same_bits.py` says which pins differ, and where."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "benchmarks" / "same_bits.py"
LOSSES = {"run.log.jsonl": [[1, 5.75], [2, 5.5]]}


def compare(folder: Path, old: dict, new: dict) -> tuple[int, list[str]]:
    """The exit code and what was printed."""
    for name, pins in (("old", old), ("new", new)):
        (folder / f"{name}.json").write_text(json.dumps({"made_with": {"threads": "1"}, "pins": pins}))
    words = [sys.executable, SCRIPT, "--compare", folder / "old.json", folder / "new.json"]
    answer = subprocess.run(words, capture_output=True, text=True, check=False)
    return answer.returncode, answer.stdout.splitlines()


@pytest.mark.medium
def test_equal_pins(tmp_path: Path) -> None:
    assert compare(tmp_path, {"losses": LOSSES}, {"losses": LOSSES, "plans": 1}) == (
        0,
        ["equal    losses", "new      plans", "1 of 1 pins are equal"],
    )


@pytest.mark.medium
def test_a_pin_differs_in_its_last_bit(tmp_path: Path) -> None:
    other = {"run.log.jsonl": [[1, 5.75], [2, 5.500000000000001]]}
    assert compare(tmp_path, {"losses": LOSSES, "plans": 1}, {"losses": other, "plans": 1}) == (
        1,
        [
            "DIFFERS  losses",
            "         /run.log.jsonl/1/1: 5.5 | 5.500000000000001",
            "equal    plans",
            "1 of 2 pins are equal",
        ],
    )


@pytest.mark.medium
def test_keys_in_another_order_and_a_missing_pin(tmp_path: Path) -> None:
    old = {"result": {"a": 1, "b": 2}, "losses": LOSSES, "files": {"config.json": "0"}}
    code, said = compare(tmp_path, old, {"result": {"b": 2, "a": 1}, "files": {"model.json": "0"}})
    assert code == 1
    assert said[1::2] == [
        "         /: keys in another order",
        "         is missing",
        "         /: without ['config.json'], with ['model.json']",
    ]
