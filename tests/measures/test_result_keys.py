"""Results of our own measures, in lm-eval's keys."""

from pathlib import Path

import pytest

from lmeff.files import write_json
from lmeff.formats.result import kind_of, read_result
from lmeff.measures.result_keys import write_measurement


def written(path: Path, value: float) -> dict:
    metrics, higher = {"wug": {"perplexity": value, "perplexity_stderr": 0.5}}, {"perplexity": False}
    return write_measurement(path, "perplexity", metrics, {"wug": 7}, higher, {"weights_sha256": "0" * 64})


def test_a_measurement_says_its_format_and_kind_beside_the_keys_of_lm_eval(tmp_path: Path) -> None:
    path = tmp_path / "wug.json"
    content = written(path, 3.0)
    assert read_result(path) == content
    assert (content["format"], content["kind"]) == (1, "perplexity")
    assert content["results"]["wug"]["perplexity,none"] == 3.0
    assert content["n-samples"]["wug"] == {"original": 7, "effective": 7}


def test_one_of_an_older_version_which_says_neither_is_read(tmp_path: Path) -> None:
    path = tmp_path / "wug.json"
    content = written(path, 3.0)
    older = {key: value for key, value in content.items() if key not in ("format", "kind")}
    older["results"] = {"wug": {"perplexity,none": 3.0, "bits_per_byte,none": 1.0}}
    write_json(path, older)
    assert kind_of(read_result(path)) == "perplexity"


def test_what_is_not_finite_is_no_result(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="wug: perplexity is nan"):
        written(tmp_path / "wug.json", float("nan"))
    assert not (tmp_path / "wug.json").exists()
