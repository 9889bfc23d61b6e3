"""Revisions arrive on the Hub whole and once, whatever happens on the way; nothing of `huggingface_hub` is replaced."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import prepared
import psutil
import pytest
import yaml
from hub_server import TOKEN, HubServer
from hub_user import REPOSITORY, lmeff, python
from launching import (
    environment,
    finish,
    read_lines,
    run_folder,
    start,
    wait_until,
    weights,
    write_recipe,
)

from lmeff.files import describe_files, sha256_file
from lmeff.hub.outbox import Outbox
from lmeff.publishing.courier import attempt_beside

pytestmark = pytest.mark.slow

LOAD = """
import sys
from pathlib import Path
from huggingface_hub import snapshot_download
from transformers import AutoModelForCausalLM, AutoTokenizer

repository, *revisions = sys.argv[1:]
for revision in revisions:
    model = AutoModelForCausalLM.from_pretrained(repository, revision=revision)
    AutoTokenizer.from_pretrained(repository, revision=revision)
    print(snapshot_download(repository, revision=revision), sum(p.double().sum().item() for p in model.parameters()))
"""


def assert_same_files(run: Path, repository: str = REPOSITORY) -> None:
    """Every revision loads from the Hub by name, and is byte for byte what the run's folder holds."""
    folders = sorted(run.glob("revisions/seed-*"))
    lines = python(LOAD, repository, *(folder.name for folder in folders)).splitlines()
    assert len(lines) == len(folders) > 2
    for folder, line in zip(folders, lines, strict=True):
        snapshot = Path(line.split()[0])
        ours = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        theirs = {path.relative_to(snapshot): path.read_bytes() for path in snapshot.rglob("*") if path.is_file()}
        assert theirs.pop(Path(".gitattributes"))
        assert theirs == ours


def payload_commits(hub: HubServer, branch: str) -> list[str]:
    return [commit.title for commit in hub.commits(REPOSITORY, branch) if "manifest.json" in commit.files]


def test_a_run_and_its_revisions_on_the_hub(hub: HubServer, hub_home: Path, tmp_path: Path) -> None:
    """Two processes, scores, one commit for each revision with its scores in it, and no word of the token anywhere."""
    recipe = write_recipe(tmp_path)
    words = ("publish.to=hub", "publish.license=mit", "evaluation.tasks=[lmeff_synthetic]", "evaluation.limit=2")
    process = start("cpu_ddp", str(recipe), *words, "model.max_position_embeddings=64")
    seen: set[str] = set()
    run = run_folder(recipe)
    while process.poll() is None:
        for one in psutil.Process(process.pid).children(recursive=True):
            try:
                seen.add(" ".join(one.cmdline()))
            except psutil.Error:
                continue
        time.sleep(0.2)
    output = finish(process)
    assert any("lmeff.publishing.worker" in line for line in seen)
    assert TOKEN not in " ".join(seen) + output
    names = ["seed-1", "seed-1-tokens-0", "seed-1-tokens-20k", "seed-1-tokens-5k"]
    assert sorted(hub.repositories[REPOSITORY].branches) == ["main", *names]
    assert hub.repositories[REPOSITORY].private
    initial = hub.repositories[REPOSITORY].history("main")[-1].oid
    for name in names:
        (commit,) = hub.commits(REPOSITORY, name)
        assert commit.parent == initial
        assert ".eval_results/lmeff_synthetic.json" in commit.files
        assert "optimizer.safetensors" not in commit.files
    assert_same_files(run)
    main = hub.repositories[REPOSITORY].find("main")
    assert sorted(main.files) == [".gitattributes", "README.md", "curves.png", "revisions.json"]
    index = json.loads(main.files["revisions.json"].content)["revisions"]
    assert [row["branch"] for row in index] == [names[1], names[3], names[2], names[0]]
    assert {row["branch"]: row["weights_sha256"] for row in index} == weights(run)
    assert all(set(row["scores"]) == {"lmeff_synthetic"} for row in index)
    about = yaml.safe_load(
        hub.repositories[REPOSITORY].find(names[3]).files["README.md"].content.decode().split("---\n")[1]
    )
    assert about["license"] == "mit"
    (result,) = about["model-index"][0]["results"]
    scored = json.loads((run / "results" / names[3] / "lmeff_synthetic.json").read_text())
    assert result["metrics"][0]["value"] == scored["results"]["lmeff_synthetic"]["acc,none"]
    assert "nothing to do" in finish(start(None, str(recipe), *words, "model.max_position_embeddings=64"))
    for path in [*tmp_path.rglob("*"), *hub_home.rglob("*")]:
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), f"{path} holds the token"


def test_trained_without_a_hub_and_delivered_afterwards(hub: HubServer, tmp_path: Path) -> None:
    """F16: the run ends well, says what is left, and everything arrives later, byte for byte."""
    hub.stop()
    recipe = write_recipe(tmp_path)
    run = run_folder(recipe)
    said = finish(start(None, str(recipe), "publish.to=hub"))
    assert "seed-1-tokens-5k: not on the Hub yet (" in said
    assert f"deliver with: lmeff publish {run}" in said
    assert json.loads((run / "state.json").read_text())["state"] == "complete"
    assert [entry.state for entry in Outbox(run).entries()] == ["waiting"] * 5
    again = finish(start(None, str(recipe), "publish.to=hub"))
    assert "nothing to do" in again
    assert (
        f"not on the Hub yet, seed-1-tokens-0, seed-1-tokens-5k, seed-1-tokens-20k, seed-1, main: lmeff publish {run}"
        in again
    )
    answer = lmeff("publish", str(run))
    assert (answer.returncode, "Traceback" in answer.stderr) == (1, False)
    assert "lmeff publish" in answer.stderr
    hub.start()
    answer = lmeff("publish", str(run))
    assert answer.returncode == 0, answer.stderr
    assert len(re.findall("delivered and verified", answer.stdout)) == 5
    assert_same_files(run)
    commits = {branch: hub.commits(REPOSITORY, branch) for branch in hub.repositories[REPOSITORY].branches}
    assert lmeff("publish", str(run)).returncode == 0
    assert {branch: hub.commits(REPOSITORY, branch) for branch in commits} == commits
    answer = lmeff("verify", str(run))
    assert answer.returncode == 0, answer.stdout
    assert "4 revisions on the Hub are those of the folder" in answer.stdout
    assert "3 models load and have the held-out loss that was recorded" in answer.stdout


def test_required_and_away(hub: HubServer, tmp_path: Path) -> None:
    hub.stop()
    recipe = write_recipe(tmp_path)
    words = (str(recipe), "anchors.tokens=[5k]", "publish.to=hub", "--require")
    process = start(None, *words)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "seed-1-tokens-5k: not on the Hub yet" in said
    assert json.loads((run_folder(recipe) / "state.json").read_text())["state"] == "failed"
    hub.start()
    finish(start(None, *words))
    assert len(payload_commits(hub, "seed-1-tokens-5k")) == 1
    assert len(read_lines(run_folder(recipe) / "run.log.jsonl")) == 10


ANCHOR = "seed-1-tokens-0"


def enter(run: Path) -> Outbox:
    """Puts one anchor into the run's outbox."""
    outbox = Outbox(run)
    outbox.add(ANCHOR, REPOSITORY, ANCHOR, True, sha256_file(run / "revisions" / ANCHOR / "manifest.json"))
    outbox.add("main", REPOSITORY, "main", True)
    return outbox


@pytest.mark.parametrize(
    ("where", "how", "options", "said", "waits"),
    [
        ("POST .*/preupload/", "status", {"status": 429, "headers": {"RateLimit": '"api";r=0;t=3600'}}, "429", 3601),
        ("POST .*/commit/", "status", {"status": 429, "headers": {"Retry-After": "3600"}}, "429", 3601),
        ("PUT /lfs/", "status", {"status": 500}, "500", 5),
        ("POST .*/commit/", "status", {"status": 503}, "503", 5),
        ("GET .*/refs", "status", {"status": 504}, "504", 5),
        ("POST .*/batch", "reset", {}, "Error", 5),
        ("POST .*/commit/", "reset", {}, "Error", 5),
        (".*", "status", {"status": 401, "headers": {"X-Error-Code": "RepoNotFound"}}, "token", 600),
        ("POST .*/create", "status", {"status": 403}, "the Hub refuses what the token asks for (403): a fault", 600),
    ],
)
def test_a_hub_in_trouble(
    hub: HubServer, run: Path, where: str, how: str, options: dict, said: str, waits: float
) -> None:
    """F16: noted at once and tried again when the Hub wants it, not before; one commit in the end."""
    outbox = enter(run)
    with hub.fault(where, how, **options):
        begun = time.time()
        attempt_beside(run, [ANCHOR])
        assert time.time() - begun < 60
    entry = outbox.read(ANCHOR)
    assert (entry.state, entry.attempts, entry.hub_is_down) == ("waiting", 1, True)
    assert said in entry.error
    assert TOKEN not in entry.error
    assert waits - 1 <= entry.not_before - begun <= waits + 40
    assert outbox.due() == []
    asked = len(hub.requests)
    outbox.again(ANCHOR)
    if waits < 1000:
        attempt_beside(run, [ANCHOR])
    else:
        assert outbox.due() == [], "the Hub asked to wait, and nobody's impatience changes that"
        assert len(hub.requests) == asked
        attempt_beside(run, [ANCHOR])
    assert (outbox.read(ANCHOR).state, outbox.read(ANCHOR).error) == ("delivered", None)
    assert len(payload_commits(hub, ANCHOR)) == 1


def test_a_hub_that_hangs(hub: HubServer, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F16: the attempt is ended, and the next one delivers."""
    monkeypatch.setattr("lmeff.publishing.courier._FIXED_SECONDS", 8.0)
    outbox = enter(run)
    with hub.fault("POST .*/preupload/", "hang"):
        attempt_beside(run, [ANCHOR])
    assert "nothing came of it in" in outbox.read(ANCHOR).error
    outbox.again(ANCHOR)
    attempt_beside(run, [ANCHOR])
    assert len(payload_commits(hub, ANCHOR)) == 1


def test_the_answer_to_a_commit_is_lost(hub: HubServer, run: Path) -> None:
    """F17: the commit is there, and no second one is made."""
    outbox = enter(run)
    with hub.fault("POST .*/commit/", "lose", times=1):
        attempt_beside(run, [ANCHOR])
    assert outbox.read(ANCHOR).state == "waiting"
    assert len(payload_commits(hub, ANCHOR)) == 1
    tree = hub.repositories[REPOSITORY].find(ANCHOR).files
    outbox.again(ANCHOR)
    attempt_beside(run, [ANCHOR])
    assert outbox.read(ANCHOR).state == "delivered"
    assert len(payload_commits(hub, ANCHOR)) == 1
    assert hub.repositories[REPOSITORY].find(ANCHOR).files == tree


def test_killed_between_upload_and_commit(hub: HubServer, run: Path) -> None:
    """F17."""
    outbox = enter(run)
    command = [sys.executable, "-m", "lmeff.publishing.worker", str(os.getpid()), "300", str(run), ANCHOR]
    with hub.fault("POST .*/commit/", "hang"):
        process = prepared.Popen(command, env=environment())
        wait_until(lambda: any("PUT /lfs/" in what for _, what, _ in list(hub.requests)), process)
        time.sleep(0.5)
        process.kill()
        process.wait()
    assert payload_commits(hub, ANCHOR) == []
    attempt_beside(run, [ANCHOR])
    assert outbox.read(ANCHOR).state == "delivered"
    assert len(payload_commits(hub, ANCHOR)) == 1
    assert sum("PUT /lfs/" in what for _, what, _ in hub.requests) == 2, "the weights and the picture went up once"


def test_delivered_by_two_machines_at_once(hub: HubServer, run: Path, tmp_path: Path) -> None:
    """F18: copies of a run, whose locks do not know each other: one commit for each revision, and both are content."""
    copy = tmp_path / "elsewhere" / "outputs" / "job" / "seed-1"
    shutil.copytree(run, copy)
    answers: dict[Path, subprocess.CompletedProcess] = {}
    threads = [
        threading.Thread(target=lambda one=one: answers.update({one: lmeff("publish", str(one))}))
        for one in (run, copy)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.returncode for answer in answers.values()] == [0, 0], answers
    assert {len(payload_commits(hub, name)) for name in ("seed-1", "seed-1-tokens-0", "seed-1-tokens-20k")} == {1}


def test_a_complete_run_that_trains_on(hub: HubServer, tmp_path: Path) -> None:
    """Its final model is another one now: the branch and `main` move on to it, and nothing of the former one stays there."""
    recipe, run = write_recipe(tmp_path), tmp_path / "outputs" / "job" / "seed-1"
    words = (str(recipe), "publish.to=hub", "publish.final_on_main=true", "schedule.name=constant")
    finish(start(None, *words, "publish.optimizer=true", "anchors.tokens=[5k]"))
    repository = hub.repositories[REPOSITORY]
    former, anchor_before = repository.find("seed-1"), repository.find("seed-1-tokens-5k")
    assert "optimizer.safetensors" in former.files
    said = finish(start(None, *words, "publish.require=true", "anchors.tokens=[5k,10k]", "--accept-changes"))
    assert "not on the Hub" not in said
    assert [commit.oid for commit in hub.commits(REPOSITORY, "seed-1")].count(former.oid) == 1
    now = json.loads((run / "revisions" / "seed-1" / "anchor.json").read_text())
    assert (now["same_as"], now["step"]) == ("seed-1-tokens-10k", 20)
    assert len(payload_commits(hub, "seed-1-tokens-10k")) == len(payload_commits(hub, "seed-1-tokens-5k")) == 1
    assert repository.find("seed-1-tokens-5k").files["model.safetensors"] == anchor_before.files["model.safetensors"]
    for branch in ("seed-1", "main"):
        files = repository.find(branch).files
        assert "optimizer.safetensors" not in files
        assert files["model.safetensors"] == repository.find("seed-1-tokens-10k").files["model.safetensors"]
        assert files["model.safetensors"] != former.files["model.safetensors"]
    answer = lmeff("publish", str(run))  # the cards of earlier anchors say how long the run is now
    assert answer.returncode == 0, answer.stdout
    assert_same_files(run)
    answer = lmeff("verify", str(run))
    assert answer.returncode == 0, answer.stdout


def test_a_complete_run_that_trains_on_beside_another_model(hub: HubServer, tmp_path: Path) -> None:
    """Somebody else's commit is on the branch of its final model since: it stays there."""
    recipe, run = write_recipe(tmp_path), tmp_path / "outputs" / "job" / "seed-1"
    words = (str(recipe), "publish.to=hub", "schedule.name=constant")
    finish(start(None, *words, "anchors.tokens=[5k]"))
    repository = hub.repositories[REPOSITORY]
    head = repository.find("seed-1")
    other = {**head.files, "manifest.json": head.files["config.json"]}
    repository.add("seed-1", head.oid, other, "another model")
    said = finish(start(None, *words, "anchors.tokens=[5k,10k]", "--accept-changes"))
    anchor = json.loads((run / "revisions" / "seed-1" / "anchor.json").read_text())
    assert (anchor["same_as"], anchor["step"]) == ("seed-1-tokens-10k", 20)
    assert "seed-1: not on the Hub yet (branch seed-1 of" in said
    assert "holds another model; it is never overwritten" in said
    assert repository.find("seed-1").files == other
    assert len(payload_commits(hub, "seed-1-tokens-10k")) == len(payload_commits(hub, "seed-1-tokens-5k")) == 1


def test_another_model_is_never_overwritten(hub: HubServer, run: Path) -> None:
    outbox = enter(run)
    attempt_beside(run, [ANCHOR])
    before = hub.repositories[REPOSITORY].find(ANCHOR)
    other = run.parents[3] / "other" / "outputs" / "job" / "seed-1"
    shutil.copytree(run, other, ignore=shutil.ignore_patterns("outbox"))
    anchor = other / "revisions" / ANCHOR
    manifest = json.loads((anchor / "manifest.json").read_text())
    (anchor / "recipe.yaml").write_text((anchor / "recipe.yaml").read_text() + "# another\n")
    manifest["files"] = describe_files(anchor, exclude=("README.md", ".eval_results", "manifest.json"))
    (anchor / "manifest.json").write_text(json.dumps(manifest))
    enter(other)
    attempt_beside(other, [ANCHOR])
    entry = Outbox(other).read(ANCHOR)
    assert entry.state == "refused"
    assert "holds another model; it is never overwritten" in entry.error
    assert hub.repositories[REPOSITORY].find(ANCHOR) == before
    assert outbox.read(ANCHOR).state == "delivered"


def test_one_that_cannot_be_delivered_does_not_hold_up_the_others(hub: HubServer, run: Path) -> None:
    """Somebody put a file onto the first anchor's branch: it is never closed, and all others arrive."""
    outbox = enter(run)
    attempt_beside(run, [ANCHOR])
    repository = hub.repositories[REPOSITORY]
    head = repository.find(ANCHOR)
    repository.add(ANCHOR, head.oid, {**head.files, "stray.txt": head.files["config.json"]}, "a stray file")
    outbox.path(ANCHOR).unlink()
    answer = lmeff("publish", str(run))
    assert answer.returncode == 1
    assert (
        f"{ANCHOR}: waiting: delivered, but not verified: {REPOSITORY}@{ANCHOR}/stray.txt: not in the manifest"
        in answer.stdout
    )
    assert {one.revision: one.state for one in outbox.entries()} == {
        ANCHOR: "waiting",
        "seed-1-tokens-20k": "delivered",
        "seed-1": "delivered",
        "main": "delivered",
    }


def test_a_main_branch_that_is_not_ours(hub: HubServer, run: Path) -> None:
    outbox = enter(run)
    attempt_beside(run, [ANCHOR])
    repository = hub.repositories[REPOSITORY]
    head = repository.find("main")
    repository.add("main", head.oid, {**head.files, "README.md": head.files[".gitattributes"]}, "somebody's own card")
    attempt_beside(run, ["main"])
    assert outbox.read("main").state == "refused"
    assert "holds what lmeff did not put there" in outbox.read("main").error
    assert repository.find("main").title == "somebody's own card"


def test_names_of_ones_own_and_the_final_model_on_main(hub: HubServer, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    words = ("anchors.tokens=[5k]", "publish.to=hub", "publish.private=false", "publish.namespace=lab")
    words = (
        *words,
        "publish.repository=own.{name}.{seed}",
        "publish.anchor_branch=at/{tokens}",
        "publish.final_branch=end",
    )
    finish(start(None, str(recipe), *words, "publish.final_on_main=true", "publish.optimizer=true"))
    repository = hub.repositories["lab/own.job.1"]
    assert (sorted(repository.branches), repository.private) == (["at/5k", "end", "main"], False)
    main, end = repository.find("main").files, repository.find("end").files
    assert main["model.safetensors"] == end["model.safetensors"] == repository.find("at/5k").files["model.safetensors"]
    assert {"optimizer.safetensors", "generation_config.json"} < set(end)
    assert "This branch holds the final model." in main["README.md"].content.decode()
    answer = lmeff("verify", str(run_folder(recipe)))
    assert answer.returncode == 0, answer.stdout


def test_a_token_that_is_none_is_not_shown(hub: HubServer, run: Path) -> None:
    answer = lmeff("publish", str(run), HF_TOKEN=f"{TOKEN}\nsecond line")
    assert answer.returncode != 0
    assert "HF_TOKEN: holds white space or characters that no token has" in answer.stdout + answer.stderr
    assert TOKEN not in answer.stdout + answer.stderr
    assert not [path for path in run.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]


def test_commits_keep_to_the_quota(hub: HubServer, run: Path) -> None:
    now = time.time()
    ledger = run.parents[1] / ".hub_commits.json"
    ledger.write_text(json.dumps({"format": 1, "commits": [now - 3000 + second for second in range(100)]}))
    outbox = enter(run)
    attempt_beside(run, [ANCHOR])
    entry = outbox.read(ANCHOR)
    assert "100 commits were made within an hour" in entry.error
    assert entry.not_before == pytest.approx(now + 600, abs=20)
    assert entry.is_asked_wait
    assert payload_commits(hub, ANCHOR) == []


def test_verify_names_every_difference(hub: HubServer, run: Path) -> None:
    assert lmeff("publish", str(run)).returncode == 0
    repository = hub.repositories[REPOSITORY]
    head = repository.find("seed-1-tokens-0")
    files = dict(head.files)
    files["model.safetensors"] = repository.find("seed-1").files["model.safetensors"]
    files["stray.txt"] = files.pop("config.json")
    repository.add("seed-1-tokens-0", head.oid, files, "tampered")
    del repository.branches["seed-1"]
    asked = len(hub.requests)
    answer = lmeff("verify", str(run))
    assert answer.returncode == 1
    where = f"{REPOSITORY}@seed-1-tokens-0"
    for line in (
        f"{where}/model.safetensors: changed on the Hub",
        f"{where}/config.json: missing on the Hub",
        f"{where}/stray.txt: not in the manifest",
        f"{REPOSITORY}@seed-1: no such branch on the Hub",
    ):
        assert line in answer.stdout.splitlines()
    assert not any("/resolve/" in what for _, what, _ in hub.requests[asked:]), "nothing is downloaded"
    hub.stop()
    answer = lmeff("verify", str(run))
    assert answer.returncode == 1
    assert "the Hub could not be asked" in answer.stdout
    assert lmeff("verify", str(run), "--local").returncode == 0
    hub.start()


def test_verify_finds_copies_and_other_weights(run: Path) -> None:
    """A revision with the weights of another one that does not say so, and one whose weights are not those of its loss."""
    first, last = run / "revisions" / "seed-1-tokens-0", run / "revisions" / "seed-1-tokens-20k"
    shutil.copyfile(last / "model.safetensors", first / "model.safetensors")
    anchor = json.loads((first / "anchor.json").read_text())
    anchor["weights_sha256"] = sha256_file(first / "model.safetensors")
    (first / "anchor.json").write_text(json.dumps(anchor))
    manifest = {"format": 1, "files": describe_files(first, exclude=("README.md", ".eval_results", "manifest.json"))}
    (first / "manifest.json").write_text(json.dumps(manifest))
    answer = lmeff("verify", str(run))
    assert answer.returncode == 1
    assert f"{last}: bit for bit the weights of seed-1-tokens-0, and does not say so" in answer.stdout
    assert f"{first}: its weights give a held-out loss of 3.2" in answer.stdout


def test_a_token_from_dotenv_and_from_no_place(hub: HubServer, run: Path, tmp_path: Path) -> None:
    where = {"HF_TOKEN": "", "HF_NAMESPACE": ""}
    answer = lmeff("publish", str(run), cwd=tmp_path, **where)
    assert answer.returncode == 2
    assert "publish.namespace: missing" in answer.stderr
    answer = lmeff("publish", str(run), "--namespace", "tester", cwd=tmp_path, **where)
    assert answer.returncode == 1
    assert "no token: set HF_TOKEN" in answer.stdout + answer.stderr
    (tmp_path / ".env").write_text(f"HF_TOKEN={TOKEN}\nHF_NAMESPACE=tester\n")
    answer = lmeff("publish", str(run), cwd=tmp_path, **where)
    assert answer.returncode == 0, answer.stderr
    assert TOKEN not in answer.stdout + answer.stderr
    found = [path for path in run.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert found == []


def test_a_run_that_is_killed_after_an_anchor_was_delivered(hub: HubServer, tmp_path: Path) -> None:
    """An anchor arrives while the run goes on. The restart makes it anew, with another rate: what others have seen stays, here
    and on the Hub."""
    recipe, run = write_recipe(tmp_path), tmp_path / "outputs" / "job" / "seed-1"
    words = (str(recipe), "publish.to=hub", "checkpoints.every_steps=100000", "corpus.epochs=9999")

    def arrived() -> bool:
        repository = hub.repositories.get(REPOSITORY)
        return (
            repository is not None
            and "seed-1-tokens-5k" in repository.branches
            and bool(payload_commits(hub, "seed-1-tokens-5k"))
        )

    process = start(None, *words, "anchors.tokens=[0,5k,20M]")
    wait_until(arrived, process)
    process.kill()
    process.communicate()
    before = (run / "revisions" / "seed-1-tokens-5k" / "anchor.json").read_bytes()
    finish(start(None, *words, "anchors.tokens=[0,5k,10k]", "--accept-changes"))
    assert (run / "revisions" / "seed-1-tokens-5k" / "anchor.json").read_bytes() == before
    assert len(payload_commits(hub, "seed-1-tokens-5k")) == 1
    answer = lmeff("verify", str(run))
    assert answer.returncode == 0, answer.stdout
    mine = [one for one in psutil.process_iter(["cmdline"]) if str(run) in " ".join(one.info["cmdline"] or ())]
    assert mine == [], "nothing is left behind"


def test_names_are_checked_before_anything_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = write_recipe(tmp_path)
    for words, said in (
        (("publish.anchor_branch=anchor-{seed}",), "would share the branch 'anchor-1'"),
        (("publish.anchor_branch=../{tokens}",), "is no name for a branch"),
        (("publish.anchor_branch=seed-{seed}/{tokens}",), "would share the branch 'seed-1'"),
        (("publish.final_branch=main",), "is the branch of the card and the index"),
        (("publish.repository=a--b",), "is no name for a repository"),
        (("publish.repository=x-{corpus.__class__}",), "{corpus.__class__} is none of"),
    ):
        process = start(None, str(recipe), "publish.to=hub", "publish.namespace=tester", *words)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 2, output
        assert said in output
        assert not (tmp_path / "data").exists()
    monkeypatch.delenv("HF_NAMESPACE", raising=False)
    process = start(None, str(recipe), "publish.to=hub")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "publish.namespace: missing; the user or organization on the Hub, in the recipe or as HF_NAMESPACE" in output
