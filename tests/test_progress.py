"""D20: what takes longer than two seconds shows on standard error that it goes on; what is quick shows nothing."""

import json
import time
from pathlib import Path

import pytest

from lmeff import progress as module
from lmeff.files import locked
from lmeff.progress import progress, shown


@pytest.mark.medium
def test_quick_work_is_silent_and_slow_work_is_not(capsys: pytest.CaptureFixture) -> None:
    with shown("packing"), progress("text", 100) as bar:
        bar.update(100)
    assert capsys.readouterr().err == ""
    with shown("packing"):
        time.sleep(2.3)
        assert "packing: 00:0" in capsys.readouterr().err
    with progress("text", 100, unit="B"):  # nothing was counted yet
        time.sleep(2.3)
        assert "text:   0%" in capsys.readouterr().err


@pytest.mark.medium
def test_a_log_gets_a_line_now_and_then(capsys: pytest.CaptureFixture) -> None:
    with progress("text", 1000) as bar:
        for _ in range(24):
            time.sleep(0.1)
            bar.update(40)
    assert capsys.readouterr().err.count("text:") <= 3, "after two seconds, and at the end"


def test_only_the_first_of_several_processes_says_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(module, "SHOWN_AFTER_SECONDS", 0.01)
    monkeypatch.setenv("RANK", "1")
    with shown("packing"):
        time.sleep(0.1)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("RANK", "0")
    with shown("packing"):
        time.sleep(0.1)
    assert "packing" in capsys.readouterr().err


def test_waiting_for_another_process_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    import threading

    monkeypatch.setattr(module, "SHOWN_AFTER_SECONDS", 0.01)
    held, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(tmp_path / "corpus.text"):
            held.set()
            may_end.wait(5)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(5)
    threading.Timer(0.3, may_end.set).start()
    with locked(tmp_path / "corpus.text"):
        pass
    thread.join()
    assert "waiting for another process (corpus.text)" in capsys.readouterr().err


@pytest.mark.medium
def test_every_stage_of_preparing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """As if each took two seconds."""
    from lmeff.cli import main

    monkeypatch.setattr(module, "SHOWN_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(module, "_LOG_TICK_SECONDS", 0.001)
    texts = [f"This is story number {index} of a long book about nothing. " * 20 for index in range(2_000)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    (tmp_path / "dev.txt").write_text(" ".join(texts))
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        "name: x\ncorpus: {name: books, paths: [a.jsonl], dev_paths: [dev.txt]}\ntokenizer: {vocab_size: 320}\n"
        "model: {size: 20m}\nbatch: {tokens: 256, packing: best_fit}\nanchors: {tokens: [100k]}\n"
        f"paths: {{data: '{tmp_path}/data'}}\nschedule: {{warmup: 0}}\n"
    )
    assert main(["prepare", str(recipe)]) == 0
    said = capsys.readouterr().err
    for stage in (
        "hashes of files",
        "text:",
        "sha256 of the text",
        "text for the tokenizer",
        "tokenizer: ",
        "tokens:",
        "places at which long held-out documents may be cut",
        "sha256 of the tokens",
        "packing",
    ):
        assert stage in said, stage
