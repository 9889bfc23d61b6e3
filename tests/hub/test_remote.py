"""Models of the Hub are named by repository and revision, scored in the order of their tokens, and never guessed."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from evaluation.small_models import save_model, write_anchor
from hub_server import File, HubServer, Repository
from hub_user import REPOSITORY, lmeff
from safetensors.torch import load_file, save_file

from lmeff.cli import main
from lmeff.evaluation.bos_warning import bos_warning
from lmeff.hub.named_revision import NamedRevision

pytestmark = pytest.mark.slow
TASKS = ("--tasks", "lmeff_synthetic", "--limit", "2")


def test_anchors_sort_by_tokens() -> None:
    tokens = ["0", "60k", "25M", "1250M"]
    ordered = [*(f"seed-0-tokens-{count}" for count in tokens), "seed-0", "seed-1-tokens-25M"]
    assert sorted(sorted(ordered), key=NamedRevision.parse) == ordered
    babylm = ["chck_100M", "main", "chck_9M", "chck_1B", "chck_10M"]
    assert sorted(babylm, key=NamedRevision.parse) == ["chck_9M", "chck_10M", "chck_100M", "chck_1B", "main"]
    assert sorted([*ordered, "main"], key=NamedRevision.parse) == [*ordered, "main"]


@pytest.mark.parametrize(
    ("name", "series", "count", "unit", "seed"),
    [
        ("chck_10M", "", 10**7, "words", 0),
        ("seed-1-tokens-25M", "seed-1", 25 * 10**6, "tokens", 1),
        ("a_tokens_1.5B", "a", 15 * 10**8, "tokens", 0),
        ("step100", "", 100, "steps", 0),
        ("2-step-4-tokens-1k", "2", 1000, "tokens", 2),
        ("seed-3", "seed-3", None, None, 3),
        ("main", "main", None, None, 0),
        ("tokens-1.2.3", "tokens-1.2.3", None, None, 0),
        ("checkpoint-10", "checkpoint-10", None, None, 0),
    ],
)
def test_names_say_how_much_a_revision_was_trained_on(
    name: str, series: str, count: int | None, unit: str | None, seed: int
) -> None:
    revision = NamedRevision.parse(name)
    assert (revision.name, revision.series, revision.count, revision.unit) == (name, series, count, unit)
    assert revision.seed == seed


def test_checkpoints_of_babylm_are_scored_in_the_order_of_words_and_drawn(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As its repositories are: a branch for each number of words, and the finished model on `main`."""
    repository = Repository("BabyLM-community/babygpt", private=False)
    for index, branch in enumerate(("main", "chck_10M", "chck_9M", "no-model-yet")):
        save_model(tmp_path / branch, hidden_size=16 + 8 * index)
        files = {
            path.name: File(path.read_bytes(), path.suffix == ".safetensors") for path in (tmp_path / branch).iterdir()
        }
        if branch == "no-model-yet":
            files.pop("model.safetensors")
        repository.add(branch, None, files, "Upload model")
    hub.repositories[repository.name] = repository
    answer = lmeff("eval", repository.name, "--revisions", "all", *TASKS, cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    shown = [line.split()[0] for line in answer.stdout.splitlines()]
    assert shown == ["revision", "chck_9M", "chck_10M", "main", "results:"]
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()  # what libraries said while the models were made
    assert main(["curves", "outputs/eval"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("babygpt, seed 0: BabyLM-community/babygpt, 10M words")
    assert [line.split()[0] for line in shown.splitlines() if " [" in line] == ["9M", "10M"]


def test_weights_are_compared_within_their_repository(hub: HubServer, tmp_path: Path) -> None:
    tensors: dict[tuple[str, str], torch.Tensor] = {}
    for number, name in enumerate(("ours", "theirs")):
        repository = Repository(f"tester/{name}", private=False)
        for tokens in (0, 1 + number, 4):
            branch = f"seed-0-tokens-{tokens}" if tokens < 4 else "seed-0"
            torch.manual_seed(10 * number + tokens)
            folder = tmp_path / name / branch
            folder.mkdir(parents=True)
            tensors[name, branch] = torch.randn(4, 4)
            save_file({"a.weight": tensors[name, branch]}, folder / "model.safetensors")
            (folder / "config.json").write_text("{}")
            write_anchor(folder, tokens, None if tokens < 4 else "seed-0-tokens-4")
            files = {
                path.name: File(path.read_bytes(), path.suffix == ".safetensors") for path in sorted(folder.iterdir())
            }
            repository.add(branch, None, files, "Upload model")
        hub.repositories[repository.name] = repository

    def measured(name: str, task: str) -> dict[str, float]:
        (values,) = json.loads((tmp_path / "outputs" / "eval" / name / f"{task}.json").read_text())["results"].values()
        return values

    def change(name: str, one: str, other: str) -> float:
        one, other = tensors[name, one], tensors[name, other]
        return pytest.approx(float((one - other).norm() / other.norm()), rel=1e-4)

    answer = lmeff("weights", "tester/ours", "tester/theirs", "--revisions", "all", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    for name, middle in (("ours", "seed-0-tokens-1"), ("theirs", "seed-0-tokens-2")):
        assert measured(f"{name}@seed-0", "similarity")["change_from_final,none"] == 0
        assert measured(f"{name}@{middle}", "similarity")["change_from_final,none"] == change(name, middle, "seed-0")
        found = measured(f"{name}@seed-0", "weights")
        assert found["change_from_previous,none"] == change(name, "seed-0", middle)
        assert found["change_from_initial,none"] == change(name, "seed-0", "seed-0-tokens-0")

    some = ("weights", "tester/ours", "--revisions", "seed-0-tokens-0,seed-0")
    path = tmp_path / "outputs" / "eval" / "ours@seed-0" / "weights.json"
    before = path.read_bytes()
    assert lmeff(*some, cwd=tmp_path).returncode == 0
    assert path.read_bytes() == before, "some revisions replace nothing that is known from all of them"
    path.unlink()
    assert lmeff(*some, cwd=tmp_path).returncode == 0
    found = measured("ours@seed-0", "weights")
    assert "change_from_previous,none" not in found
    assert found["change_from_initial,none"] == change("ours", "seed-0", "seed-0-tokens-0")


def test_scored_from_the_hub_and_the_results_sent_back(hub: HubServer, run: Path, tmp_path: Path) -> None:
    assert lmeff("publish", str(run)).returncode == 0
    answer = lmeff("eval", REPOSITORY, *TASKS, cwd=tmp_path)
    assert answer.returncode == 2
    known = "it has main, seed-1-tokens-0, seed-1-tokens-20k, seed-1"
    assert f"which revision? {REPOSITORY}@REVISION or --revisions all; it has" in answer.stderr
    assert set(answer.stderr.split("it has ")[1].strip().split(", ")) == set(known.removeprefix("it has ").split(", "))
    answer = lmeff("eval", f"{REPOSITORY}@nosuch", *TASKS, cwd=tmp_path)
    assert (answer.returncode, "has no revision 'nosuch'" in answer.stderr) == (2, True)

    answer = lmeff("eval", REPOSITORY, "--revisions", "all", *TASKS, cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    lines = [line.split() for line in answer.stdout.splitlines()]
    assert [line[0] for line in lines] == ["revision", "seed-1-tokens-0", "seed-1-tokens-20k", "seed-1", "results:"]
    assert lines[2][2] == lines[3][2], "the final model is the last anchor"
    folder = tmp_path / "outputs" / "eval" / "stories-41.1k-tok320@seed-1-tokens-20k"
    about = json.loads((folder / ".model.json").read_text())
    assert about["commit"] == hub.repositories[REPOSITORY].branches["seed-1-tokens-20k"]

    answer = lmeff("eval", str(run), "--output", str(tmp_path / "local"), *TASKS)
    assert answer.returncode == 0, answer.stderr
    ours = json.loads((tmp_path / "local" / "seed-1-tokens-20k" / "lmeff_synthetic.json").read_text())
    assert json.loads((folder / "lmeff_synthetic.json").read_text())["results"] == ours["results"]

    answer = lmeff("eval", f"{REPOSITORY}@seed-1", *TASKS, "--publish", cwd=tmp_path)
    assert answer.returncode == 2
    assert "--publish: the scores of a part of the examples" in answer.stderr
    folder = tmp_path / "outputs" / "eval" / "stories-41.1k-tok320@seed-1"
    scored = (folder / "lmeff_synthetic.json").read_text()
    old = scored.replace(json.loads(scored)["lmeff"]["weights_sha256"], "0" * 64)
    (folder / "of_older_weights.json").write_text(old.replace('"lmeff_synthetic"', '"of_older_weights"'))
    (folder / "of_a_part.json").write_text(scored.replace('"lmeff_synthetic"', '"of_a_part"'))
    words = ("eval", f"{REPOSITORY}@seed-1", "--tasks", "lmeff_synthetic", "--publish")
    answer = lmeff(*words, cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    first, second = hub.commits(REPOSITORY, "seed-1")
    assert set(first.files) - set(second.files) == {".eval_results/lmeff_synthetic.json"}
    about = yaml.safe_load(first.files["README.md"].content.decode().split("---\n")[1])
    assert {one["dataset"]["name"] for one in about["model-index"][0]["results"]} == {"lmeff_synthetic"}
    assert lmeff(*words, cwd=tmp_path).returncode == 0
    assert len(hub.commits(REPOSITORY, "seed-1")) == 2, "the same results make no commit"
    assert lmeff("verify", str(run)).returncode == 0, "results are no part of what a manifest fixes"

    hub.stop()
    answer = lmeff("eval", f"{REPOSITORY}@seed-1", *TASKS, cwd=tmp_path)
    assert answer.returncode == 1
    assert "Traceback" not in answer.stderr
    hub.start()


def test_results_of_a_run_travel_to_its_branches(hub: HubServer, run: Path) -> None:
    words = ("eval", str(run), "--tasks", "lmeff_synthetic", "--publish")
    answer = lmeff(*words)
    assert answer.returncode == 2
    assert f"--publish: {run} is not on the Hub; lmeff publish {run}" in answer.stderr
    for path in (run / "results").rglob("*.json"):
        path.rename(path.with_suffix(".kept"))
    assert lmeff("publish", str(run)).returncode == 0
    assert len(hub.commits(REPOSITORY, "seed-1-tokens-20k")) == 1
    for path in (run / "results").rglob("*.kept"):
        path.rename(path.with_suffix(".json"))
    answer = lmeff(*words)
    assert answer.returncode == 0, answer.stderr
    scored = json.loads((run / "results" / "seed-1-tokens-20k" / "lmeff_synthetic.json").read_text())
    for branch in ("seed-1-tokens-20k", "seed-1"):
        files = hub.repositories[REPOSITORY].find(branch).files
        assert json.loads(files[".eval_results/lmeff_synthetic.json"].content) == scored
        assert f"{scored['results']['lmeff_synthetic']['acc,none']:.4f}" in files["README.md"].content.decode()
        assert len(hub.commits(REPOSITORY, branch)) == 2
    main = hub.repositories[REPOSITORY].find("main").files
    rows = {row["branch"]: row for row in json.loads(main["revisions.json"].content)["revisions"]}
    assert rows["seed-1-tokens-20k"]["scores"] == {"lmeff_synthetic": scored["results"]["lmeff_synthetic"]["acc,none"]}
    assert lmeff("verify", str(run), "--no-reload").returncode == 0


def test_a_beginning_that_was_never_trained(run: Path) -> None:
    """The published models this toolkit continues never saw their `<s>`."""
    folder = run / "revisions" / "seed-1-tokens-20k"
    assert bos_warning(folder) is None
    (folder / "anchor.json").unlink()
    (folder / "README.md").unlink()
    weights = load_file(folder / "model.safetensors")
    embedding = weights["model.embed_tokens.weight"]
    torch.manual_seed(0)
    embedding[3:] *= 3
    embedding[:2] = 0.02 * torch.randn(2, embedding.shape[1])
    embedding[1] *= embedding[0].norm() / embedding[1].norm()
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert "its BOS token '<s>' seems never to have occurred in training" in bos_warning(folder)
    embedding[1] *= 5
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert bos_warning(folder) is None
