"""What a shell still says of an earlier launch does not change numbers."""

import pytest

from lmeff.corpora.reading.origins import _matches
from lmeff.corpora.reading.record_text import fill
from lmeff.environment import asks_for_cpu, set_numerics_aside
from lmeff.errors import InputError


def test_what_would_change_numbers_is_set_aside_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

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
