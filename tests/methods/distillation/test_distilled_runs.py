"""Distilled runs: what they are without a teacher's weight, that they go on to the same bits, and what they leave on disk."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from launching import curve, ended, launch_in_turn, read_lines, start, state_of, train_here, weights
from methods.distillation.small import recipe_of, save_teacher, write_small
from safetensors import safe_open

from lmeff.methods.distillation import cache as module
from lmeff.methods.distillation.cache import TeacherCache
from lmeff.methods.distillation.sources import sources_of
from lmeff.runs.signals import Interrupted

pytestmark = pytest.mark.slow

CACHE = "distillation.cache={kind: top_k, k: 6}"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_small(tmp_path_factory.mktemp("distilled"))
    save_teacher(path.parent / "one" / "final", path, "seed=2")
    save_teacher(path.parent / "two" / "final", path, "seed=3", "model.hidden_size=8")
    return path


def teachers(path: Path, *names: str) -> str:
    return f"distillation.teachers=[{', '.join(str(path.parent / name / 'final') for name in names)}]"


def trained(path: Path, name: str, *words: str, code: int = 0) -> Path:
    assert train_here([str(path), f"name={name}", *words]) == code
    return path.parent / "outputs" / name / "seed-1"


@pytest.fixture(scope="module")
def asked(path: Path) -> Path:
    return trained(path, "asked", teachers(path, "one", "two"), "batch.document_mask=true")


@pytest.fixture(scope="module")
def kept(path: Path) -> Path:
    return trained(path, "kept", teachers(path, "one", "two"), CACHE, f"paths.data={path.parent / 'whole'}")


def test_teachers_without_weight_change_no_bit(path: Path, asked: Path) -> None:
    plain = trained(path, "plain", "batch.document_mask=true")
    weightless = trained(path, "weightless", teachers(path, "one"), "distillation.alpha=1", "batch.document_mask=true")
    assert curve(weightless) == curve(plain)
    assert weights(weightless) == weights(plain)
    assert (plain / "run.log.jsonl").read_text().count("teacher_loss") == 0
    assert "flops_teachers" not in json.loads((plain / "plan.json").read_text())
    assert "distillation" not in (plain / "recipe.yaml").read_text()
    # The student begins as the plain model does, and its log is its own cross-entropy.
    log, own = read_lines(asked / "run.log.jsonl"), read_lines(plain / "run.log.jsonl")
    assert log[0]["loss"] == pytest.approx(own[0]["loss"], rel=1e-6)
    assert log[-1]["loss"] != own[-1]["loss"]
    assert weights(asked)["seed-1-tokens-0"] == weights(plain)["seed-1-tokens-0"]
    first = [json.loads((one / "revisions/seed-1-tokens-0/anchor.json").read_text()) for one in (asked, plain)]
    assert first[0]["dev_loss"] == first[1]["dev_loss"]


def test_what_a_distilled_run_leaves(path: Path, asked: Path, kept: Path) -> None:
    recipe = recipe_of(path, teachers(path, "one", "two"))
    forward = sum(source.family.forward_flops_per_token(32) for source in sources_of(recipe))
    for folder in (asked, kept):
        log, plan = read_lines(folder / "run.log.jsonl"), json.loads((folder / "plan.json").read_text())
        assert all(line["teacher_loss"] > 0 for line in log)
        anchor = json.loads((folder / "revisions/seed-1/anchor.json").read_text())
        assert anchor["flops_teachers"] == plan["flops_teachers"]
        assert "| FLOPs of the teachers so far |" in (folder / "revisions/seed-1/README.md").read_text()
        with safe_open(folder / "revisions/seed-1/model.safetensors", "pt") as file:
            assert not [name for name in file.keys() if "teacher" in name]  # noqa: SIM118 - not a dictionary
            assert file.get_tensor("model.embed_tokens.weight").shape == (320, 16)
        own = json.loads(next(folder.glob("checkpoints/*/lmeff.json")).read_text())["states"]["objective"]["own"]
        assert own == {"teachers": [source.sha256 for source in sources_of(recipe)]}
    anchors = [json.loads(one.read_text()) for one in sorted(asked.glob("revisions/*/anchor.json"))]
    assert sorted(anchor["flops_teachers"] for anchor in anchors) == [0, 1024 * forward, 1024 * forward]
    assert json.loads((kept / "plan.json").read_text())["teacher_cache_bytes"] % (32 * (6 * 4 + 4)) == 0


def test_a_distilled_run_that_goes_on_has_the_same_bits(path: Path, asked: Path, capfd: pytest.CaptureFixture) -> None:
    words = (teachers(path, "one", "two"), "batch.document_mask=true", "training.logging_steps=3")
    whole = trained(path, "every_third", *words)
    trained(path, "halved", *words, "anchors.tokens=[0, 512]")
    # The same teachers in another place, and then others in theirs.
    moved = path.parent / "moved" / "final"
    (path.parent / "one" / "final").rename(moved.parent.mkdir() or moved)
    try:
        capfd.readouterr()
        swapped = (teachers(path, "two", "moved"), *words[1:], "--accept-changes")
        trained(path, "halved", *swapped, code=2)
        told = [line for line in capfd.readouterr().err.splitlines() if "taught" in line]
        assert len(told) == 1
        assert told[0].endswith(
            "its model was taught by other teachers, by the sha256 of their weights; go on with the learning method that it was"
            " written with"
        )
        halved = trained(path, "halved", teachers(path, "moved", "two"), *words[1:], "--accept-changes")
    finally:
        moved.rename(path.parent / "one" / "final")
    assert weights(halved)["seed-1"] == weights(whole)["seed-1"] == weights(asked)["seed-1"]
    logs = [read_lines(folder / "run.log.jsonl") for folder in (halved, whole)]
    assert [line["teacher_loss"] for line in logs[0]] == [line["teacher_loss"] for line in logs[1]]


def test_a_run_that_is_killed_while_teachers_read_goes_on(
    path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By SIGKILL before the third shard has its name, then stopped when another one is written."""
    words, faults = (teachers(path, "one", "two"), CACHE), ["keep_often", "kill_at_write:8:*/teachers/*.bin*"]
    code, said = ended(start(None, str(path), "name=interrupted", *words, faults=faults))
    assert code == -signal.SIGKILL, said
    (folder,) = (path.parent / "data").glob("*/tokens/*/teachers/*")
    first = {file.name: file.stat().st_mtime_ns for file in folder.glob("*.bin")}
    assert sorted(first) == ["00000.bin", "00001.bin"]
    assert [file.name.split(".")[1] for file in folder.glob(".*.tmp")] == ["00002"], "written, but not whole"
    write, written = TeacherCache.write_shard, []

    def write_one(self: TeacherCache, number: int, records: Any) -> bool:
        if written:
            raise Interrupted
        written.append(number)
        return write(self, number, records)

    with monkeypatch.context() as patched:
        patched.setattr(module, "SHARD_POSITIONS", 32 * 60)
        patched.setattr(TeacherCache, "write_shard", write_one)
        interrupted = trained(path, "interrupted", *words, code=75)
        assert state_of(interrupted)["state"] == "interrupted"
        patched.setattr(TeacherCache, "write_shard", write)
        assert curve(trained(path, "interrupted", *words)) == curve(kept)
    assert (written, weights(interrupted)) == ([2], weights(kept))
    shards = sorted(folder.glob("*.bin"))
    assert {name: folder.joinpath(name).stat().st_mtime_ns for name in first} == first, "they are not asked again"
    (whole,) = (path.parent / "whole").glob("*/tokens/*/teachers/*/*.bin")
    assert b"".join(shard.read_bytes() for shard in shards) == whole.read_bytes()
    shards[1].write_bytes(shards[1].read_bytes()[:-1] + b"x")
    with monkeypatch.context() as patched:
        patched.setattr(module, "SHARD_POSITIONS", 32 * 60)
        trained(path, "damaged", *words, code=2)


def test_two_processes_compute_the_same(path: Path, kept: Path) -> None:
    """Those that fill the cache, and those that find it there and verify it."""
    words = (teachers(path, "one", "two"), CACHE, f"paths.data={path.parent / 'both'}")
    lines = [[str(path), f"name={name}", *words] for name in ("two", "two_again")]
    codes, output = launch_in_turn("cpu_ddp", path.parent / "two.json", lines)
    assert codes == [0, 0], output
    ours, again = (path.parent / "outputs" / name / "seed-1" for name in ("two", "two_again"))
    for one, other in zip(read_lines(ours / "run.log.jsonl"), read_lines(kept / "run.log.jsonl"), strict=True):
        for name in ("loss", "teacher_loss", "grad_norm"):
            assert one[name] == pytest.approx(other[name], rel=1e-4)
    assert (curve(again), weights(again)) == (curve(ours), weights(ours))
    assert not list((path.parent / "both").glob("*/tokens/*/teachers/*/.*"))
    shards = [sorted((path.parent / place).glob("*/tokens/*/teachers/*/*.bin")) for place in ("both", "whole")]
    assert [one.read_bytes() for one in shards[0]] == [one.read_bytes() for one in shards[1]]
