"""Packages of extras: a line that names the extra, before anything is prepared."""

import configparser
import importlib.machinery
import sys

import pytest
from launching import ROOT, write_recipe

from lmeff.cli import main
from lmeff.packages import _NEEDED, _PACKAGES, EXTRA_OF, how_to_install, missing_package
from lmeff.runs.failure import outcome


@pytest.fixture
def without(monkeypatch):
    """Makes Python find no module of some names, as where they are not installed."""

    def hide(*names: str) -> None:
        class Finder(importlib.machinery.PathFinder):
            @classmethod
            def find_spec(cls, name, path=None, target=None):
                return None if name in names else super().find_spec(name, path, target)

        for name in [name for name in sys.modules if name.partition(".")[0] in names]:
            monkeypatch.delitem(sys.modules, name)
        place = sys.meta_path.index(importlib.machinery.PathFinder)
        monkeypatch.setattr(sys, "meta_path", [*sys.meta_path[:place], Finder, *sys.meta_path[place + 1 :]])

    return hide


@pytest.mark.parametrize(
    ("verb", "module", "key", "what", "extra"),
    [
        ("prepare", "py3langid", "corpus.language=en", "corpus.language", "clean"),
        ("prepare", "datasketch", "corpus.deduplicate=near", "corpus.deduplicate: 'near'", "clean"),
        (
            "plan",
            "tensorboard",
            "training.report_to=tensorboard",
            "training.report_to=tensorboard: 'tensorboard'",
            "track",
        ),
        ("plan", "trackio", "training.report_to=trackio", "training.report_to=trackio: 'trackio'", "track"),
    ],
)
def test_a_recipe_that_needs_a_missing_package_is_told_its_extra(
    without, tmp_path, capsys, verb, module, key, what, extra
):
    without(module, f"{module}X")
    assert main([verb, str(write_recipe(tmp_path)), key]) == 2
    said = capsys.readouterr().err
    assert f"{what} needs a package that is not installed: pip install 'lmeff[{extra}]'" in said
    assert not list(tmp_path.glob("data/*/*"))


def test_fine_tuning_without_its_package(without, tmp_path, capsys):
    without("sklearn")
    assert main(["finetune", str(tmp_path), "--tasks", "glue"]) == 2
    assert (
        "lmeff finetune needs a package that is not installed: pip install 'lmeff[finetune]'" in capsys.readouterr().err
    )


def test_extras_are_those_of_the_setup():
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = settings["options.extras_require"]
    names = {"sklearn": "scikit-learn"}
    for module, extra in EXTRA_OF.items():
        assert f"\n{names.get(module, module)}>=" in extras[extra], module
        assert names.get(module, module) not in settings["options"]["install_requires"]
    assert how_to_install("no_such", "no-such") == "pip install no-such"


@pytest.mark.medium
def test_a_package_that_lmeff_needs_and_lacks_is_one_line(without, tmp_path, capsys, monkeypatch):
    without("vl_convert")
    for module in ("lmeff.analysis.charts.drawing", "lmeff.probes.learning_rate"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    assert main(["probe", "lr", str(write_recipe(tmp_path))]) == 2
    said = "this installation of lmeff lacks the package vl-convert-python: pip install vl-convert-python"
    assert capsys.readouterr().err == f"{said} (`lmeff doctor` lists all that is missing)\n"


def test_so_it_is_for_a_run(without):
    without("yaml")
    with pytest.raises(ModuleNotFoundError) as error:
        importlib.import_module("yaml.loader")
    code, word, said = outcome(error.value)
    assert (code, word) == (2, "failed")
    assert said.startswith("this installation of lmeff lacks the package pyyaml: pip install pyyaml (")


@pytest.mark.parametrize("module", ["lmeff.nowhere", "json.nowhere", "numpy.nowhere"])
def test_a_module_that_its_package_does_not_have_is_a_fault_of_the_code(module):
    with pytest.raises(ModuleNotFoundError) as error:
        importlib.import_module(module)
    assert missing_package(error.value) is None
    assert missing_package(ImportError("cannot import name", name="nowhere")) is None
    assert missing_package(ModuleNotFoundError("No module named 'my_utils'", name="my_utils")) is None, "a user's own"


def test_modules_that_have_another_name_than_their_package():
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = filter(None, settings["options"]["install_requires"].splitlines())
    needed = {line.split(">=")[0] for line in lines}
    assert {name.replace("_", "-") for name in needed} == _NEEDED
    assert set(_PACKAGES.values()) <= needed
    assert not set(_PACKAGES) & needed
