"""Only a checkpoint whose files are what its manifest says is used."""

from pathlib import Path

import pytest

from lmeff.formats.run_folder import RunFolder
from lmeff.training.checkpoints import newest_complete, rotate, seal


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    for step in (5, 10, 20):
        folder = RunFolder(tmp_path).checkpoint(step)
        folder.mkdir(parents=True)
        (folder / "optimizer.pt").write_bytes(b"state %d" % step)
        seal(folder)
    return RunFolder(tmp_path)


def test_the_newest_is_chosen(run: RunFolder) -> None:
    assert newest_complete(run) == (run.checkpoint(20), [])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "manifest.json").unlink(),
        lambda folder: (folder / "manifest.json").write_text('{"format": 1, "fil'),
        lambda folder: (folder / "manifest.json").write_text('{"format": 1, "files": {"optimizer.pt": 7}}'),
        lambda folder: (folder / "optimizer.pt").unlink(),
        lambda folder: (folder / "optimizer.pt").write_bytes(b"stat"),
        lambda folder: flip(folder / "optimizer.pt"),
    ],
)
def test_a_damaged_one_is_named_and_the_one_before_is_used(run: RunFolder, damage) -> None:
    damage(run.checkpoint(20))
    chosen, complaints = newest_complete(run)
    assert chosen == run.checkpoint(10)
    assert len(complaints) == 1
    assert complaints[0].startswith(f"{run.checkpoint(20)} is damaged")


def test_none_at_all(tmp_path: Path) -> None:
    assert newest_complete(RunFolder(tmp_path)) == (None, [])


def test_rotation_keeps_the_newest_and_clears_leftovers(run: RunFolder) -> None:
    (run.checkpoints / ".step-25.tmp").mkdir()
    rotate(run, keep=2, newest=20)
    assert sorted(path.name for path in (run.checkpoints).iterdir()) == ["step-10", "step-20"]


def test_a_damaged_later_one_does_not_push_out_a_good_one(run: RunFolder) -> None:
    """The run went on from step 5, because 10 and 20 were damaged, and has just written step 7."""
    folder = run.checkpoint(7)
    folder.mkdir()
    seal(folder)
    rotate(run, keep=2, newest=7)
    assert sorted(path.name for path in (run.checkpoints).iterdir()) == ["step-5", "step-7"]
