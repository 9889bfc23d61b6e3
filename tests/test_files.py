"""Folders and files are whole or not there, and readable by whom the umask lets read."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lmeff.files import bring_back, describe_files, new_folder, remove_leftovers, write_json, write_new_bytes


def test_a_folder_is_there_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "target"
    with pytest.raises(IsADirectoryError), new_folder(target) as aside:
        aside.write_text("a half-written folder cannot be")
    assert list(tmp_path.iterdir()) == []
    with new_folder(target) as aside:
        (aside / "whole").write_text("b")
        assert not target.exists()
    assert [path.name for path in target.iterdir()] == ["whole"]
    assert list(tmp_path.iterdir()) == [target]


def refuse(*_: Path) -> None:
    raise PermissionError(1, "Operation not permitted")


@pytest.mark.parametrize("can_link", [True, False])
def test_a_new_file_replaces_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_link: bool) -> None:
    """Also where the file system has no hard links."""
    if not can_link:
        monkeypatch.setattr(os, "link", refuse)
    file = tmp_path / "folder" / "file"
    assert write_new_bytes(file, b"first")
    assert not write_new_bytes(file, b"second")
    assert file.read_bytes() == b"first"
    assert list(file.parent.iterdir()) == [file], "nothing is left aside"
    with pytest.raises(FileExistsError, match=rf"a file stands where its folder should be: '{file}/below'"):
        write_new_bytes(file / "below", b"third")


@pytest.mark.parametrize("can_link", [True, False])
def test_leftovers_of_a_file_that_is_there_are_missed_by_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_link: bool
) -> None:
    """Also not by a process that is just writing the file once more, and those of other files stay."""
    file, leftover, other = tmp_path / "0.bin", tmp_path / ".0.bin.0123abcd.tmp", tmp_path / ".other.0123abcd.tmp"
    write_new_bytes(file, b"first")
    leftover.write_bytes(b"fir")
    other.write_bytes(b"oth")
    if not can_link:
        monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os, "fsync", lambda _: remove_leftovers(tmp_path, "*.bin"))
    assert not write_new_bytes(file, b"second")
    assert file.read_bytes() == b"first"
    assert sorted(tmp_path.iterdir()) == [other, file]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o002, 0o664)])
def test_weights_are_readable_as_the_umask_says(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        with new_folder(tmp_path / "target") as aside:
            save_file({"weight": torch.zeros(2)}, aside / "model.safetensors")
    finally:
        os.umask(before)
    assert (tmp_path / "target" / "model.safetensors").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("can_exchange", [True, False])
@pytest.mark.parametrize("num_done", [0, 1, 2])
def test_a_kill_at_any_rename_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_exchange: bool, num_done: int
) -> None:
    """A folder that is replaced is there, the old one or the new one whole, whenever the process is killed."""
    target = tmp_path / "seed-1"

    def fill(folder: Path, content: str) -> None:
        (folder / "weights").write_text(content)
        write_json(folder / "manifest.json", {"format": 1, "files": describe_files(folder)})

    with new_folder(target) as aside:
        fill(aside, "old")
    if not can_exchange:
        monkeypatch.setattr("lmeff.files.folders._exchange", lambda one, other: False)
    if (child := os.fork()) == 0:
        num_left, rename = [num_done], os.rename

        def killed(*paths: Path, **_: bool) -> None:
            if num_left[0] == 0:
                os._exit(9)
            num_left[0] -= 1
            rename(*paths)

        os.rename = shutil.rmtree = killed  # what follows the renames counts as one more
        try:
            with new_folder(target) as aside:
                fill(aside, "new")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    if can_exchange:
        assert target.is_dir(), "there is no moment without it"
    else:
        assert bring_back(target) == (num_done == 1)
    assert (target / "weights").read_text() in ("old", "new")
    assert (
        describe_files(target, exclude=("manifest.json",))
        == json.loads((target / "manifest.json").read_text())["files"]
    )
    before = (target / "weights").read_text()
    with pytest.raises(IsADirectoryError), new_folder(target) as aside:
        aside.write_text("fails")
    assert (target / "weights").read_text() == before
    assert list(tmp_path.iterdir()) == [target]


def test_what_is_not_whole_is_not_brought_back(tmp_path: Path) -> None:
    left = tmp_path / ".seed-1.0123abcd.tmp"
    left.mkdir()
    (left / "weights").write_text("cut sho")
    assert not bring_back(tmp_path / "seed-1")
    entry = {"sha256": hashlib.sha256(b"cut short").hexdigest(), "bytes": 9}
    write_json(left / "manifest.json", {"format": 1, "files": {"weights": entry}})
    assert not bring_back(tmp_path / "seed-1")
    assert left.is_dir()
    (left / "weights").write_text("cut short")
    assert bring_back(tmp_path / "seed-1")


def test_a_rename_that_fails_puts_the_old_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "target"
    with new_folder(target) as aside:
        (aside / "whole").write_text("old")
    monkeypatch.setattr("lmeff.files.folders._exchange", lambda one, other: False)
    with pytest.raises(FileNotFoundError), new_folder(target) as aside:
        monkeypatch.setattr("lmeff.files.folders.sync_to_disk", lambda path: shutil.rmtree(aside, ignore_errors=True))
    assert (target / "whole").read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
