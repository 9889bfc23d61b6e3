"""As a new user: a wheel that was built from the project, in a folder with nothing in it, without a network."""

import json
import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow
TINY = [
    "corpus.synthetic.num_documents=300",
    "tokenizer.vocab_size=300",
    "model.hidden_size=16",
    "model.intermediate_size=32",
    "model.num_hidden_layers=1",
    "model.num_attention_heads=2",
    "anchors.tokens=[0,10k]",
    "schedule.warmup=1 steps",
    "evaluation.limit=2",
    "evaluation.dev_tokens=2000",
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    (path,) = folder.glob("lmeff-*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables for an environment with the wheel, which sees the packages of this one, but not this project."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    site = next(folder.glob("lib/python*/site-packages"))
    packages = Path(pytest.__file__).parents[1]
    (site / "others.pth").write_text(f"{packages}\n")
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", str(site), str(wheel)]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "bin" / "lmeff").write_text(
        f"#!{folder}/bin/python\nimport sys\nfrom lmeff.cli import main\nsys.exit(main())\n"
    )
    (folder / "bin" / "lmeff").chmod(0o755)
    variables = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "LMEFF_EVAL_DATA")}
    path = f"{folder / 'bin'}{os.pathsep}{variables['PATH']}"
    return variables | {"PATH": path, "HF_HUB_OFFLINE": "1", "no_proxy": "", "https_proxy": "http://127.0.0.1:9"}


@pytest.fixture
def lmeff(environment: dict[str, str], tmp_path: Path):
    """Calls `lmeff WORDS` in an empty folder; what it printed."""

    def call(*words: str, code: int = 0) -> str:
        answer = subprocess.run(
            ["lmeff", *words], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600, check=False
        )
        assert answer.returncode == code, answer.stdout + answer.stderr
        return answer.stdout if code == 0 else answer.stderr

    return call


def test_the_wheel_holds_the_only_copy_of_recipes_launchers_and_templates(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
        patterns = (("recipes", "**/*.yaml"), ("recipes", "*.ipynb"), ("launchers", "*.yaml"), ("slurm", "*"))
        for folder, pattern in patterns:
            for path in (ROOT / folder).glob(pattern):
                inside = f"lmeff/shipped/{folder}/{path.relative_to(ROOT / folder)}"
                if path.is_file():
                    assert inside in names
                    assert opened.read(inside) == path.read_bytes()
    assert (ROOT / "lmeff" / "shipped" / "recipes").is_symlink(), "a link, so that there is no second copy to keep"
    assert not [name for name in names if name.split("/")[0] not in ("lmeff",) and ".dist-info" not in name]


def test_a_quickstart_in_an_empty_folder(lmeff, tmp_path: Path) -> None:
    printed = lmeff("train", "quickstart", *TINY)
    run = tmp_path / "outputs" / "quickstart" / "seed-0"
    for said in ("quickstart, seed 0, in outputs/quickstart/seed-0", "12.2k parameters", "10k tokens", "stages  text"):
        assert said in printed
    assert f"open it in a browser: {run / 'report.html'}" in printed
    assert json.loads((run / "state.json").read_text())["state"] == "complete"
    provenance = json.loads((run / "revisions" / "seed-0" / "provenance.json").read_text())
    assert str(ROOT) not in json.dumps(provenance), "nothing was read from the project's folder"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "outputs"]
    assert "lmeff_synthetic" in lmeff("curves", "outputs/quickstart")
    assert "nothing to do" in lmeff("train", "quickstart", *TINY)


def test_recipes_of_ones_own_stand_on_those_that_come_with_it(lmeff, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine.yaml").write_text(
        "extends: base/llama_20m.yaml\nname: mine\ncorpus: {name: synthetic}\n"
    )
    assert "mine, seed 0" in lmeff("plan", "elsewhere/mine.yaml")
    (tmp_path / "quickstart.yaml").write_text("extends: base/llama_20m\nname: other\ncorpus: {name: synthetic}\n")
    assert "other, seed 0" in lmeff("plan", "quickstart"), "a file of that name wins"
    assert "did you mean 'quickstart.yaml'?" in lmeff("plan", "quickstrat.yaml", code=2)


def test_init_writes_a_recipe_that_works_and_that_editors_check(lmeff, tmp_path: Path) -> None:
    lmeff("init", "mine.yaml")
    first = (tmp_path / "mine.yaml").read_text().splitlines()[0]
    schema = json.loads((tmp_path / re.fullmatch(r"# yaml-language-server: \$schema=(.+)", first)[1]).read_text())
    assert schema == json.loads(lmeff("schema"))
    assert schema["properties"].keys() >= yaml.safe_load((tmp_path / "mine.yaml").read_text()).keys()
    assert "mine, seed 0" in lmeff("plan", "mine.yaml")
    assert "is there already" in lmeff("init", "mine.yaml", code=2)
    lmeff("train", "mine.yaml", *TINY)
    lmeff("init", "--slurm", "jobs")
    assert "jobs/site.env" in (tmp_path / "jobs" / "train_array.sbatch").read_text()
    assert " slurm/" not in (tmp_path / "jobs" / "train_array.sbatch").read_text()
    assert not (tmp_path / "recipe.yaml").exists()


def test_doctor_tells_an_installed_package_of_nothing_it_cannot_have(lmeff) -> None:
    said = lmeff("doctor")
    assert "test data" not in said
    assert "launchers/" not in said
