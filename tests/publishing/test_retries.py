"""`lmeff publish` where the Hub is in trouble: it goes on with other revisions, tries again while that may help, says why."""

import json
import re
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from hub_server import TOKEN, HubServer
from hub_user import REPOSITORY, lmeff
from launching import run_folder, start, write_recipe
from revisions.older import make_old

from lmeff.cli import main
from lmeff.hub.client import Hub
from lmeff.hub.delivery import update_files
from lmeff.hub.outbox import Outbox
from lmeff.hub.remote import RemoteModel
from lmeff.publishing.results import send_all
from lmeff.publishing.retries import Retries
from lmeff.run import main as run_recipe

pytestmark = pytest.mark.slow

NAMES = ("seed-1-tokens-0", "seed-1-tokens-20k", "seed-1")
QUOTA = "Private repository storage limit reached, please upgrade your plan to increase your private storage limit."


def states(run: Path) -> dict[str, str]:
    return {entry.revision: entry.state for entry in Outbox(run).entries()}


def requests_for(hub: HubServer, branch: str, after: float = 0.0) -> list[float]:
    return [when for when, what, _ in hub.requests if f"/{branch}" in what and when > after]


@pytest.mark.parametrize("where", ["POST .*/commit/seed-1-tokens-0$", "GET .*/refs", "PUT /lfs/"])
def test_a_hub_that_is_in_trouble_once(
    hub: HubServer, run: Path, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with hub.fault(where, "status", status=503, times=1):
        assert main(["publish", str(run), "--wait", "90"]) == 0
    said = capsys.readouterr()
    assert set(states(run).values()) == {"delivered"}
    assert all(len(hub.commits(REPOSITORY, name)) == 1 for name in NAMES)
    assert "waiting: the Hub answers 503" in said.out
    assert all(said.out.count(f"{name}: delivered and verified") == 1 for name in NAMES)
    assert "main: delivered and verified" in said.out
    if "seed-1-tokens-0" in where:
        first = said.out.index("seed-1-tokens-0: waiting")
        assert first < said.out.index("seed-1: delivered") < said.out.index("seed-1-tokens-0: delivered"), (
            "the others did not wait for the one that failed"
        )


def test_a_hub_that_asks_to_wait(hub: HubServer, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with hub.fault("POST .*/commit/", "status", status=429, headers={"Retry-After": "9"}, times=1):
        assert main(["publish", str(run), "--wait", "90"]) == 0
    met = next(when for when, what, status in hub.requests if status == 429)
    assert not [when for when, _, _ in hub.requests if met < when < met + 9], "the Hub was left alone for so long"
    assert set(states(run).values()) == {"delivered"}
    said = capsys.readouterr().err
    assert "the Hub answers 429; " in said
    assert "of 90 s have passed" in said


def test_a_wait_that_is_too_long_is_not_begun(hub: HubServer, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begun = time.time()
    with hub.fault("POST .*/commit/", "status", status=429, headers={"Retry-After": "3000"}):
        assert main(["publish", str(run)]) == 1
    assert time.time() - begun < 60
    assert "not before 50 minutes from now" in capsys.readouterr().err


def test_only_a_limit_holds_for_every_revision(hub: HubServer, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`RateLimit` stands beside every answer; what it says of a limit that is far away is no wait. `Retry-After` of a Hub that
    is in trouble with one revision holds for that one."""
    where, headers = "POST .*/commit/seed-1-tokens-0$", {"RateLimit": '"api";r=900;t=240'}
    with hub.fault(where, "status", status=503, headers=headers | {"Retry-After": "3000"}) as fault:
        assert main(["publish", str(run), "--wait", "20"]) == 1
    assert fault.num_met == 1
    assert states(run) == dict.fromkeys(NAMES, "delivered") | {"main": "delivered", "seed-1-tokens-0": "waiting"}
    said = capsys.readouterr()
    assert "not before 50 minutes from now" in said.err
    entry = Outbox(run).read("seed-1-tokens-0")
    (run / "outbox" / "seed-1-tokens-0.json").write_text(entry.model_copy(update={"not_before": 0.0}).model_dump_json())
    with hub.fault(where, "status", status=503, headers=headers, times=1):
        assert main(["publish", str(run), "--wait", "60"]) == 0, "tried again after seconds, not after four minutes"


def test_offline_by_choice_is_not_waited_for(
    hub: HubServer, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    begun = time.time()
    assert main(["publish", str(run)]) == 1
    assert time.time() - begun < 20
    assert "HF_HUB_OFFLINE is set; unset it" in capsys.readouterr().err
    assert hub.requests == []


@pytest.mark.parametrize("words", [[], ["--mend"]])
def test_another_process_that_delivers_is_named_and_not_waited_for_longer(
    hub: HubServer, run: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    if words:
        make_old(run / "revisions" / "seed-1-tokens-0")
    begun = time.time()
    with Outbox(run).delivering() as ours:
        assert ours
        assert main(["publish", str(run), "--wait", "4", *words]) == 1
    assert 4 <= time.time() - begun < 40
    said = capsys.readouterr().err
    assert "another process delivers; waiting for it" in said
    assert "another process delivers it, so that nothing was corrected" in said or not words
    assert f"{run}: another process delivers it" in said
    assert hub.requests == []


def test_a_short_wait_is_short_where_the_hub_says_nothing(
    hub: HubServer, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with hub.fault("GET .*", "hang") as fault:
        assert main(["publish", str(run), "--wait", "5"]) == 1
    assert fault.num_met <= 3
    said = capsys.readouterr()
    assert "Timeout" in said.out
    assert "delivering seed-1-tokens-0, " in said.err, "an attempt that lasts is shown"
    waited = [float(one.group(1)) for one in re.finditer(r"(\d+) of 5 s have passed", said.err)]
    assert not waited or max(waited) < 60


def test_results_go_on_where_the_hub_is_in_trouble(
    hub: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`lmeff eval --publish` of several models: one 503 neither ends it nor keeps the others back; what is gone is named."""
    client, name = Hub(TOKEN, is_limited=False), "tester/scored"
    client._api.endpoint = hub.url
    initial = client.prepare(name, False)
    for branch in ("a", "b", "c"):
        client.create_branch(name, branch, initial)
    models = {
        f"{name}@{branch}": SimpleNamespace(remote=RemoteModel(name, branch, initial))
        for branch in ("a", "b", "c", "d")
    }

    def send(subject: SimpleNamespace) -> str:
        branch = subject.remote.revision
        return update_files(client, name, branch, lambda *_: {"results.json": b"{}"}, lambda: 0.0, "Evaluation results")

    with hub.fault("POST .*/commit/a$", "status", status=503, times=1):
        left = send_all(models, send, Retries(60))
    assert left == {f"{name}@d": f"{name} has no branch 'd'"}
    assert all(len(hub.commits(name, branch)) == 1 for branch in ("a", "b", "c"))
    said = capsys.readouterr().out
    assert f"{name}@a: the Hub answers 503" in said
    assert said.index(f"{name}@c: results are in") < said.index(f"{name}@a: results are in")
    with hub.fault("GET .*/refs$", "status", status=503):
        left = send_all(models, send, Retries(0))
    assert set(left) == set(models)
    assert left[f"{name}@a"] == "the Hub answers 503"


def test_one_that_never_arrives(hub: HubServer, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begun = time.time()
    with hub.fault("POST .*/commit/seed-1-tokens-0$", "status", status=503) as fault:
        assert main(["publish", str(run), "--wait", "20"]) == 1
    assert time.time() - begun < 60
    assert fault.num_met > 1, "it was tried again"
    assert states(run) == dict.fromkeys(NAMES, "delivered") | {"main": "delivered", "seed-1-tokens-0": "waiting"}
    left = capsys.readouterr().err.splitlines()
    assert any(line.startswith("seed-1-tokens-0: not on the Hub yet (the Hub answers 503") for line in left)
    assert left[-1] == f"deliver with: lmeff publish {run}"
    main_files = hub.repositories[REPOSITORY].find("main").files
    rows = json.loads(main_files["revisions.json"].content)["revisions"]
    assert [row["branch"] for row in rows] == ["seed-1-tokens-20k", "seed-1"]


def test_no_wait_is_one_attempt(hub: HubServer, run: Path) -> None:
    with hub.fault("POST .*/commit/seed-1-tokens-0$", "status", status=503) as fault:
        assert main(["publish", str(run), "--wait", "0"]) == 1
    assert fault.num_met == 1
    assert list(states(run).values()).count("delivered") == 3


def test_a_network_that_comes_back(hub: HubServer, run: Path) -> None:
    hub.stop()
    threading.Timer(8, hub.start).start()
    assert main(["publish", str(run)]) == 0
    assert set(states(run).values()) == {"delivered"}


@pytest.mark.parametrize(
    ("where", "headers", "says", "said"),
    [
        ("POST .*/create", {}, "You don't have the rights to create a model under this namespace", None),
        ("POST .*/batch", {}, QUOTA, None),
        ("POST .*/commit/", {}, QUOTA, None),
        ("GET /api/models/.*", {"X-Error-Code": "GatedRepo"}, "Access to this model is restricted.", None),
        ("POST .*/create", {"X-Error-Message": "Access to this resource is disabled."}, "", "resource is disabled"),
        ("POST .*/create", {}, "", "it does not say why"),
    ],
)
def test_a_refusal_in_the_hubs_own_words(
    hub: HubServer,
    run: Path,
    capsys: pytest.CaptureFixture[str],
    where: str,
    headers: dict[str, str],
    says: str,
    said: str | None,
) -> None:
    """Quota, rights, a gated and a disabled repository: none of them is a matter of the token's being wrong or of waiting."""
    begun = time.time()
    with hub.fault(where, "status", status=403, headers=headers, says=says):
        assert main(["publish", str(run)]) == 1
    assert time.time() - begun < 60
    told = capsys.readouterr()
    assert "the Hub refuses what the token asks for (403): " in told.out + told.err
    assert (said or says) in told.out
    assert "rejects the token" not in told.out + told.err
    assert TOKEN not in told.out + told.err
    if "GatedRepo" in headers.values():
        assert not [what for _, what, _ in hub.requests if "/create" in what], "a gated repository is there"


def test_a_rejected_token_is_not_waited_for(hub: HubServer, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hub.tokens.clear()
    begun = time.time()
    assert main(["publish", str(run)]) == 1
    assert time.time() - begun < 60
    assert "the Hub rejects the token (401)" in capsys.readouterr().err


def test_what_publish_says_of_its_options(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HF_NAMESPACE", raising=False)
    assert main(["publish", str(run)]) == 2
    assert "publish.namespace: missing" in (said := capsys.readouterr().err)
    assert "--namespace NAME" in said
    for words, message in ((["--require"], "unrecognized arguments: --require"), (["--wait", "-1"], "0 or above")):
        with pytest.raises(SystemExit) as ended:
            main(["publish", str(run), *words])
        assert ended.value.code == 2
        assert message in capsys.readouterr().err


def test_a_complete_run_that_never_was_in_the_outbox(
    hub: HubServer, finished: Path, run: Path, capsys: pytest.CaptureFixture
) -> None:
    """It was trained with `publish.to: local`; that it is published is asked for afterwards."""
    words = [str(finished.parents[2] / "recipe.yaml"), "anchors.tokens=[0,20k]", "model.max_position_embeddings=128"]
    words += [f"paths.outputs={run.parents[1]}"]
    assert run_recipe(words) == 0
    assert "not on the Hub" not in capsys.readouterr().out
    names = "seed-1-tokens-0, seed-1-tokens-20k, seed-1"
    assert run_recipe([*words, "publish.to=hub"]) == 0
    assert f"not on the Hub yet, {names}: lmeff publish {run}" in capsys.readouterr().out
    assert run_recipe([*words, "publish.to=hub", "--require"]) == 1
    assert f"not on the Hub yet, {names}: lmeff publish {run}" in capsys.readouterr().out
    assert lmeff("publish", str(run)).returncode == 0
    assert run_recipe([*words, "publish.to=hub", "--require"]) == 0
    assert "not on the Hub" not in capsys.readouterr().out


def test_require_holds_or_is_refused(hub: HubServer, tmp_path: Path) -> None:
    """It says that undelivered revisions are an error: also of a run that was complete before; not where nothing is sent."""
    recipe = write_recipe(tmp_path)
    process = start(None, str(recipe), "--require")
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "--require: publish.to is local" in said
    hub.stop()
    words = (str(recipe), "anchors.tokens=[5k]", "publish.to=hub")
    process = start(None, *words)
    process.communicate(timeout=300)
    assert process.returncode == 0
    process = start(None, *words, "--require")
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"lmeff publish {run_folder(recipe)}" in said
    hub.start()
    assert lmeff("publish", str(run_folder(recipe))).returncode == 0
    process = start(None, *words, "--require")
    process.communicate(timeout=60)
    assert process.returncode == 0
