"""What `lmeff sweep submit` hands to sbatch, and `lmeff prepare` of a sweep."""

import shutil
from pathlib import Path

import pytest
from launching import RECIPE, ROOT, STORIES
from sweeps.study import SWEEP

from lmeff.cli.main import main


def test_a_dry_run_shows_what_would_be_submitted(folder: Path, capsys: pytest.CaptureFixture) -> None:
    Path("s.yaml").write_text(SWEEP)
    shutil.copytree(ROOT / "slurm", "slurm")
    assert main(["sweep", "submit", "s.yaml", "batch.micro=2", "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        ". slurm/site.env",
        "PREPARE=$(sbatch --parsable slurm/prepare.sbatch s.yaml batch.micro=2)",
        "TRAIN=$(sbatch --parsable --array=0-7 --dependency=afterany:$PREPARE slurm/train_array.sbatch s.yaml batch.micro=2)",
    ]


def test_what_training_leaves_unscored_is_scored_beside_it(folder: Path, capsys: pytest.CaptureFixture) -> None:
    text = SWEEP + "  evaluation.at_anchors: [true, false]\n"
    Path("s.yaml").write_text(text.replace("[0, 1]", "[0]").replace("[32, 64]", "[32]"))
    shutil.copytree(ROOT / "slurm", "slurm")
    assert main(["sweep", "submit", "s.yaml", "evaluation.tasks=[lmeff_synthetic]", "--dry-run"]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    words = "s.yaml 'evaluation.tasks=[lmeff_synthetic]'"
    assert (
        line == f"EVALUATE=$(sbatch --parsable --array=1,3 --dependency=after:$TRAIN slurm/eval_array.sbatch {words})"
    )


def test_without_templates_nothing_is_submitted(folder: Path, capsys: pytest.CaptureFixture) -> None:
    Path("s.yaml").write_text(SWEEP)
    assert main(["sweep", "submit", "s.yaml"]) == 2
    assert capsys.readouterr().err.startswith("--slurm: slurm/site.env: no such file")


def test_folders_stand_one_in_a_line(folder: Path, capsys: pytest.CaptureFixture) -> None:
    Path("s.yaml").write_text(SWEEP)
    assert main(["sweep", "list", "s.yaml", "--folders", "seed=3"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"outputs/study/hidden_size-{size}_{text}/seed-3" for size in (32, 64) for text in ("few", "many")
    ]


@pytest.mark.medium
def test_a_sweep_is_prepared_once_and_what_fails_keeps_nothing_back(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    (folder / "stories.jsonl").write_text(STORIES)
    Path("base.yaml").write_text(RECIPE.format(folder=folder))
    Path("s.yaml").write_text(
        "sweep: s\nrecipe: base.yaml\nseeds: [0, 1]\n"
        "axes: {tokenizer.vocab_size: [300, 20000, 320], optimizer.learning_rate: [1e-3, 3e-3]}\n"
    )
    assert main(["prepare", "s.yaml"]) == 2
    output = capsys.readouterr()
    assert output.err.startswith("tokenizer.vocab_size: the training text allows")
    [data] = Path("data").glob("[!.]*")
    vocabularies = sorted(path.name for path in (data / "tokenizers").glob("[!.]*"))
    assert len(vocabularies) == 2, vocabularies


@pytest.mark.medium
def test_a_text_that_cannot_be_downloaded_keeps_nothing_back(
    folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMEFF_OSF_ENDPOINT", "http://127.0.0.1:9")  # where nobody answers
    Path("s.yaml").write_text(
        "sweep: s\nrecipe: base.yaml\naxes:\n  text:\n    away: {corpus.name: babylm3, corpus.track: 10M}\n"
        "    here: {tokenizer.vocab_size: 300, corpus.synthetic.num_documents: 200}\n"
    )
    assert main(["prepare", "s.yaml"]) == 1
    assert "cannot be downloaded" in capsys.readouterr().err
    assert len(list(Path("data").glob("[!.]*/tokenizers/[!.]*"))) == 1
