"""Recipes and launchers by the names that commands take."""

from pathlib import Path

import pytest

from lmeff.shipped import find_shipped, shipped_names

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("kind", ["recipes", "launchers"])
def test_every_file_at_the_top_has_a_name_and_is_found_by_it(kind: str) -> None:
    files = sorted((ROOT / kind).rglob("*.yaml"))
    assert len(files) > 5
    names = shipped_names(kind)
    assert names == sorted(path.relative_to(ROOT / kind).with_suffix("").as_posix() for path in files)
    assert sorted(find_shipped(kind, name) for name in names) == files


def test_the_ending_may_be_written() -> None:
    assert find_shipped("launchers", "cpu.yaml") == find_shipped("launchers", "cpu") == ROOT / "launchers" / "cpu.yaml"


@pytest.mark.parametrize("name", ["quickstrat", "../setup", "", "base", "/etc/passwd"])
def test_other_names_are_found_nowhere(name: str) -> None:
    assert find_shipped("recipes", name) is None
