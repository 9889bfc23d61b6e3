"""A schedule of sequence lengths: keys as people write tokens, and one line for every way it can be wrong."""

from pathlib import Path

import pytest

from lmeff.errors import InputError
from lmeff.recipe import read_recipe

RECIPE = Path(__file__).parents[2] / "recipes" / "60m_babylm3.yaml"
WORD = "batch.sequence_lengths="


@pytest.mark.parametrize("lengths", ["{0: 64, 5M: 128, 20M: 256}", "{20_000_000: 256, '5M': 128, 0: 64}"])
def test_lengths_are_read_and_read_again(lengths: str, tmp_path: Path) -> None:
    resolved = read_recipe(RECIPE, [WORD + lengths])
    assert resolved.recipe.batch.length_stages() == [(0, 64), (77, 128), (306, 256)]
    assert not resolved.recipe.batch.is_plain
    assert list(resolved.values["batch"]["sequence_lengths"]) == ["0", "5M", "20M"]
    for key in ("0", "5M", "20M"):
        assert resolved.provenance[f"batch.sequence_lengths.{key}"] == f"command line: {WORD}{lengths}"
    (tmp_path / "recipe.yaml").write_text(resolved.to_yaml())
    assert read_recipe(tmp_path / "recipe.yaml").recipe == resolved.recipe


def test_a_schedule_replaces_that_of_the_base(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(
        f"extends: {RECIPE}\nbatch: {{sequence_lengths: {{0: 64, 5M: 128, 20M: 256}}}}\n"
    )
    path = tmp_path / "recipe.yaml"
    path.write_text("extends: base.yaml\nbatch:\n  sequence_lengths: {0: 32, 4M: 256}\n")
    resolved = read_recipe(path)
    assert resolved.recipe.batch.sequence_lengths == {"0": 32, "4M": 256}
    assert resolved.recipe.batch.tokens == read_recipe(RECIPE).recipe.batch.tokens
    assert resolved.provenance["batch.sequence_lengths.4M"] == f"{path}:3"
    assert not any(key.endswith(("5M", "20M")) for key in resolved.provenance if key.startswith("batch."))
    for word, wanted in ((f"{WORD}{{0: 128, 1M: 256}}", {"0": 128, "1M": 256}), (f"{WORD}null", None)):
        assert read_recipe(path, [word]).recipe.batch.sequence_lengths == wanted
    assert read_recipe(path, ["batch={sequence_lengths: {0: 256}}"]).recipe.batch.sequence_lengths == {"0": 256}
    words = [f"batch.sequence_lengths.{word}" for word in ("0=16", "2M=64")]
    assert read_recipe(path, words).recipe.batch.sequence_lengths == {"0": 16, "2M": 64, "4M": 256}
    assert read_recipe(path, ["batch.tokens=65536"]).recipe.batch.sequence_lengths == {"0": 32, "4M": 256}


@pytest.mark.parametrize(
    ("lengths", "said"),
    [
        ("{1: 64, 5M: 256}", "must say the length from token 0 on"),
        ("{}", "must say the length from token 0 on"),
        ("{0: 64, soon: 256}", "has a key that is no number of tokens: 'soon' is not a number such as 60k"),
        ("{0: 64, -5: 128, 5M: 256}", "has a key that is no number of tokens: it is below 0"),
        ("{0: 64, 5000k: 128, 5M: 256}", "says the length from 5M tokens on twice; drop one"),
        ("{0: 64, 1: 128, 60k: 256}", "change twice at step 1, with tokens 65536; drop one"),
        ("{0: 64, 5M: 64, 6M: 256}", "must rise with the tokens: 64 follows 64"),
        ("{0: 100, 6M: 256}", "has 100, which does not divide sequence_length (256)"),
        ("{0: 64, 5M: 128}", "must end at sequence_length (256), not at 128"),
        ("{0: 1, 5M: 256}", "must be at least 2"),
        ("[64, 256]", "must be a section with keys under it"),
    ],
)
def test_mistakes_are_one_line(lengths: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        read_recipe(RECIPE, [WORD + lengths])
    assert str(error.value).count("\n") == 0
    assert str(error.value).startswith(f"command line: {WORD}{lengths}")
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("words", "last"),
    [
        (["anchors.tokens=[1M, 20M]"], 306),
        (["anchors.tokens=[5M]", "anchors.until=converged", "anchors.max_tokens=10M"], 153),
    ],
)
def test_a_length_after_the_last_step_is_refused(words: list[str], last: int) -> None:
    lengths = "{0: 64, 5M: 128, 20M: 256}"
    with pytest.raises(InputError) as error:
        read_recipe(RECIPE, [WORD + lengths, *words, "schedule.warmup=0"])
    said = f"a length of 256 begins after step 306, and the run ends with step {last}; drop it or begin it earlier"
    assert str(error.value).splitlines() == [f"command line: {WORD}{lengths}: {said}"]
    assert read_recipe(RECIPE, [WORD + lengths, "anchors.tokens=[20_100_000]"])
