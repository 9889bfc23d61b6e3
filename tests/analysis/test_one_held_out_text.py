"""A run that went on with another recipe: its losses over other text are not shown beside its last ones, and named."""

import json
from pathlib import Path

import pytest

from lmeff.analysis import print_curves, read_runs, tidy_table
from lmeff.analysis.comparison.compare import compare
from lmeff.analysis.reading.held_out import loss_settings

ANCHORS = (0, 25, 50)
LOSSES = {"dev_loss", "dev_perplexity", "dev_bits_per_byte"}


def revisions(run: Path) -> list[Path]:
    return [run / "revisions" / f"seed-0-tokens-{name}" for name in ("0", "25M", "50M")]


def say(revision: Path, **more: object) -> None:
    """What `anchor.json` says besides."""
    path = revision / "anchor.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | more))


def recipe(revision: Path, before: str = "", after: str = "") -> None:
    """The recipe that a revision was saved with."""
    text = (revision.parents[1] / "recipe.yaml").read_text()
    (revision / "recipe.yaml").write_text(text.replace(before, after) if before else text)


def provenance(revision: Path, num_dev: int | None = None, held_out: str = "a") -> None:
    splits = {"splits": {"dev": {"num_tokens": num_dev}}} if num_dev else {}
    document = {"corpus": {"held_out_sha256": held_out}, "tokens": splits}
    (revision / "provenance.json").write_text(json.dumps(document))


def shown(run: Path) -> set[int]:
    """The anchors, in millions of tokens, whose held-out losses are in the table."""
    table = tidy_table(read_runs([run]))
    rows = table[table["task"] == "dev"]
    tokens = set(rows["nominal_tokens"] // 10**6)
    assert all(set(rows[rows["nominal_tokens"] == at * 10**6]["metric"]) == LOSSES for at in tokens)
    return tokens


@pytest.fixture
def run(fake_run) -> Path:
    return fake_run(name="one", anchors=ANCHORS, num_pairs=3)


def test_losses_over_other_numbers_of_tokens_stand_in_no_curve(run: Path) -> None:
    for revision, number in zip(revisions(run), (92_000, 92_000, 3_000), strict=True):
        say(revision, dev_tokens=number)
    assert shown(run) == {50}
    (one,) = read_runs([run])
    assert loss_settings(one).dev_tokens == 3_000, "of the loss that is shown, whatever the recipe says now"
    line = (
        "held-out loss: anchors 0 and 25M are left out, taken over dev_tokens 92,000, sequence_length 256, the last one over"
        " dev_tokens 3,000, sequence_length 256"
    )
    assert line in print_curves([one]).splitlines()
    (said,) = [
        line for line in compare(run, f"{run}@seed-0-tokens-25M").not_compared if line.startswith("held-out loss")
    ]
    assert said.endswith(f"({line})")


def test_older_anchors_go_by_the_recipe_that_they_were_saved_with(run: Path) -> None:
    """Of 92,000 tokens the default of 100,000 takes as many as an anchor says that was saved later."""
    first, middle, last = revisions(run)
    for revision in (first, middle, last):
        provenance(revision, 92_000)
        recipe(revision)
    say(last, dev_tokens=92_000)
    assert shown(run) == {0, 25, 50}
    recipe(middle, "tasks: [lmeff_blimp]", "tasks: [lmeff_blimp], dev_tokens: 1M")
    assert shown(run) == {0, 25, 50}, "more than there are is all of them"
    recipe(middle, "tasks: [lmeff_blimp]", "tasks: [lmeff_blimp], dev_tokens: 5k")
    assert shown(run) == {0, 50}
    recipe(middle, "sequence_length: 256", "sequence_length: 256, document_mask: true")
    assert shown(run) == {0, 50}


def test_three_ways_are_each_told_beside_the_last(run: Path) -> None:
    for revision, number in zip(revisions(run), (92_000, 50_000, 3_000), strict=True):
        say(revision, dev_tokens=number)
    windows, text = "sequence_length 256", print_curves(read_runs([run]))
    for name, number in (("0", "92,000"), ("25M", "50,000")):
        ways = f"dev_tokens {number}, {windows}, the last one over dev_tokens 3,000, {windows}"
        assert f"held-out loss: anchor {name} is left out, taken over {ways}" in text.splitlines()


def test_losses_over_another_text_stand_in_no_curve(run: Path) -> None:
    first, middle, last = revisions(run)
    provenance(middle, held_out="b")
    provenance(last, held_out="b")
    assert shown(run) == {0, 25, 50}, "the first does not say what it was"
    provenance(first, held_out="a")
    assert shown(run) == {25, 50}
    line = "held-out loss: anchor 0 is left out, taken over another text than the last one"
    assert line in print_curves(read_runs([run])).splitlines()


def test_a_run_of_one_recipe_is_shown_whole_whatever_else_differs(run: Path) -> None:
    for number, revision in enumerate(revisions(run)):
        provenance(revision)
        recipe(revision, "learning_rate: 3e-4", f"learning_rate: {number + 1}e-4")
    assert shown(run) == {0, 25, 50}
