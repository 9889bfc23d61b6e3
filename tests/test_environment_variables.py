"""What a shell still says of an earlier launch does not change numbers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from transformers.utils.import_utils import KERNELS_MIN_VERSION

from lmeff.corpora.reading.origins import _matches
from lmeff.corpora.reading.record_text import fill
from lmeff.environment import asks_for_cpu, set_numerics_aside
from lmeff.errors import InputError

ROOT = Path(__file__).resolve().parents[1]


def test_what_would_change_numbers_is_set_aside_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "ACCELERATE_DYNAMO_BACKEND": "EAGER",
        "ACCELERATE_MIXED_PRECISION": "no",
        "NVIDIA_TF32_OVERRIDE": "1",
        "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1",
        "ACCELERATE_USE_CPU": "on",
    }.items():
        monkeypatch.setenv(name, value)
    said = set_numerics_aside()
    assert [line.split()[2] for line in said] == [
        "ACCELERATE_DYNAMO_BACKEND=EAGER",
        "NVIDIA_TF32_OVERRIDE=1",
        "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=1",
    ]
    assert not {name for name in os.environ if "TF32" in name or "DYNAMO_BACKEND" in name}
    assert asks_for_cpu()


@pytest.mark.parametrize("value", [0, False, {}])
def test_a_value_that_is_no_text_is_not_taken_for_nothing(value: object) -> None:
    with pytest.raises(InputError, match="'text' holds"):
        fill({"text": value, "title": "T"}, ["{text}", "{title}"], "a.jsonl:1")
    for nothing in (None, "", []):
        assert fill({"text": nothing, "title": "T"}, ["{text}", "{title}"], "a.jsonl:1") == "T"


def test_hidden_files_of_a_data_set_are_taken_only_by_name() -> None:
    paths = ["a.jsonl", "data/b.jsonl", ".cache/b.jsonl", "data/._a.jsonl"]
    taken = {
        pattern: [path for path in paths if _matches(path, pattern, False)]
        for pattern in ("*.jsonl", "data/*", ".cache/*.jsonl")
    }
    assert taken == {"*.jsonl": paths[:2], "data/*": paths[1:2], ".cache/*.jsonl": [".cache/b.jsonl"]}
    assert [path for path in paths if _matches(path, "*.jsonl", True)] == paths


_KERNELS = """\
def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return _fetch if name == "get_kernel" else lambda *words, **options: lambda one: one


def _fetch(name, **options):
    raise SystemExit(f"{name} would be fetched")
"""
_ASKED = """\
import lmeff
from transformers.integrations import hub_kernels
from transformers.utils.import_utils import is_kernels_available

assert is_kernels_available() and hub_kernels.get_kernel_hub.__module__ == "kernels", "else nothing is tried here"
assert not hub_kernels._kernels_enabled
assert hub_kernels.lazy_load_kernel("mamba-ssm") is None
print("none")
"""


@pytest.mark.medium
@pytest.mark.parametrize("said", [None, "YES"])
def test_no_kernels_are_fetched(tmp_path: Path, said: str | None) -> None:
    """With a package `kernels` of a version that transformers takes, whatever the shell says."""
    about = tmp_path / f"kernels-{KERNELS_MIN_VERSION}.dist-info" / "METADATA"
    about.parent.mkdir()
    about.write_text(f"Metadata-Version: 2.1\nName: kernels\nVersion: {KERNELS_MIN_VERSION}\n")
    (tmp_path / "kernels.py").write_text(_KERNELS)
    environment = {name: value for name, value in os.environ.items() if name != "USE_HUB_KERNELS"}
    environment |= {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"} | ({"USE_HUB_KERNELS": said} if said else {})
    command = [sys.executable, "-c", _ASKED]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "none\n", done.stderr
