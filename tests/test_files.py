"""Folders and files are whole or not there, and readable by whom the umask lets read."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lmeff.files import new_folder


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


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o002, 0o664)])
def test_weights_are_readable_as_the_umask_says(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        with new_folder(tmp_path / "target") as aside:
            save_file({"weight": torch.zeros(2)}, aside / "model.safetensors")
    finally:
        os.umask(before)
    assert (tmp_path / "target" / "model.safetensors").stat().st_mode & 0o777 == mode
