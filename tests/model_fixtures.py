"""Models and data that tests of several rooms score. What is heavy is imported by the fixtures, not by every test."""

import os
import socket
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    from evaluation.small_models import save_model

    folder = tmp_path_factory.mktemp("model")
    save_model(folder)
    return folder


@pytest.fixture(scope="session")
def own_model(tmp_path_factory) -> Path:
    """With a tokenizer as lmeff makes them, which adds nothing to a text by itself."""
    from evaluation.tokenizer_habits import save_own

    folder = tmp_path_factory.mktemp("own")
    save_own(folder)
    return folder


@pytest.fixture(scope="session")
def mini_blimp(tmp_path_factory) -> Path:
    """All 67 files with 3 to 9 invented pairs each: the sizes differ, so a mean of means is not the mean of pairs."""
    from evaluation.small_models import NAMES, VERBS, write_pairs

    from lmeff.evaluation.tasks.blimp import PARADIGMS

    folder = tmp_path_factory.mktemp("data") / "blimp"
    for index, uid in enumerate(PARADIGMS):
        sentences = [f"{name} {verb} {other}." for name in NAMES for verb in VERBS for other in NAMES]
        chosen = sentences[index : index + 2 * (3 + index % 7)]
        write_pairs(folder / f"{uid}.jsonl", list(zip(chosen[::2], chosen[1::2], strict=True)))
    return folder


@pytest.fixture
def clean_environment(monkeypatch) -> dict[str, str]:
    """The environment for a subprocess that has this project, but neither data settings nor the Hub."""
    monkeypatch.delenv("LMEFF_EVAL_DATA", raising=False)
    root = str(Path(__file__).resolve().parents[1])
    return {**os.environ, "PYTHONPATH": root, "HF_HUB_OFFLINE": "1"}


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
