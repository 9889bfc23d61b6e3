from pathlib import Path

import pytest
from sweeps.study import RECIPE


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with base.yaml in it."""
    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_text(RECIPE)
    return tmp_path
