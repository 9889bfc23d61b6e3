"""What `lmeff sweep submit` hands to sbatch, and `lmeff prepare` of a sweep."""

import shutil
import threading
from pathlib import Path

import pytest
from launching import RECIPE, ROOT, STORIES
from sweeps.study import SWEEP

from lmeff.cli.main import main
from lmeff.command_line import run_folder


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


def test_a_task_of_an_array_has_its_folder(
    folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("s.yaml").write_text(SWEEP)
    Path("a").mkdir()
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID", raising=False)

    def said(*words: str, task: str | None = None) -> str:
        if task is not None:
            monkeypatch.setenv("SLURM_ARRAY_TASK_ID", task)
        code = run_folder.main(words)
        output = capsys.readouterr()
        assert code == (2 if output.err else 0)
        return output.out + output.err

    assert said("a") == "a\n"
    assert said() == "no run folders given, and no sweep\n"
    assert said("a", "b") == "2 run folders, but no array; give --array=0-1\n"
    assert said("s.yaml") == "8 run folders, but no array; give --array=0-7\n"
    assert said("a", "b", task="1") == "b\n"
    assert said("a", "b", task="2") == "task 2, but 2 run folders: --array counts from 0\n"
    assert said("s.yaml", "seed=5", "paths.outputs=there", task="3") == "there/study/hidden_size-64_many/seed-5\n"
    assert said("base.yaml", "seed=[4,5]", task="1") == "outputs/base/seed-5\n"
    assert said("sweeps/babyllama", task="1") == "outputs/babyllama/llama_58m/seed-0\n"  # it comes with lmeff
    assert said("s.yaml", "batch.tokns=3", task="0").startswith("command line: batch.tokns=3: ")


def test_a_case_is_waited_for_until_it_has_begun(folder: Path) -> None:
    begun = folder / "there" / "recipe.yaml"
    thread = threading.Thread(target=run_folder.wait_for_run, args=(str(begun.parent), 0.01))
    thread.start()
    thread.join(0.1)
    assert thread.is_alive()
    begun.parent.mkdir()
    begun.write_text("name: x\n")
    thread.join(10)
    assert not thread.is_alive()


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
