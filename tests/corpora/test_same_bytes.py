"""The result depends on text and recipe alone: not on workers, file order, hash seeds, locale, or where it was killed."""

import hashlib
import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.medium

PROJECT = Path(__file__).resolve().parents[2]

RECIPE = """
extends: {project}/recipes/quickstart.yaml
name: same
corpus:
  name: same
  clean: web
  deduplicate: near
  min_words: 20
  repetition: true
  decontaminate: [evaluation.txt]
  decontaminate_words: 6
  sources:
    first: {{paths: [text/a], weight: 2}}
    second: {{paths: [text/b], weight: 1, epochs: 3}}
tokenizer: {{vocab_size: 2000}}
"""


def write_text(folder: Path, shared_data: Path, copies: int, every: int = 1) -> None:
    """Leaner's texts, some of them with their sentences in other orders, some twice."""
    files = sorted((shared_data / "leaner" / "train").glob("*.jsonl"))
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    texts = [record["text"] for record in map(json.loads, lines) if "text" in record][::every]
    (folder / "evaluation.txt").write_text("\n".join(texts[7].split(". ")[1:4]))
    order = random.Random(0)
    for copy in range(copies):
        for name, part in (("a", texts[::2]), ("b", texts[1::2])):
            target = folder / "text" / name / f"{copy}.jsonl"
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(target, "w", encoding="utf-8") as file:
                for text in part:
                    sentences = re.split(r"(?<=[.!?]) ", text)
                    if order.random() < 0.9:
                        order.shuffle(sentences)
                    file.write(json.dumps({"text": " ".join(sentences)}) + "\n")
    (folder / "recipe.yaml").write_text(RECIPE.format(project=PROJECT))


def command(folder: Path, data: str) -> tuple[list[str], dict[str, str]]:
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    return [sys.executable, "-m", "lmeff.cli", "prepare", "recipe.yaml", f"paths.data={data}"], environment


def prepared(folder: Path, data: str) -> dict[str, str]:
    """sha256 of everything that was prepared, manifests without the places they name."""
    found = {}
    for path in sorted((folder / data).glob("same-*/**/*")):
        if path.is_file():
            content = path.read_bytes()
            found[path.relative_to(folder / data).as_posix()] = hashlib.sha256(content).hexdigest()
    return found


def test_workers_file_order_hash_seed_and_locale(tmp_path: Path, shared_data: Path) -> None:
    write_text(tmp_path, shared_data, copies=1, every=4)
    results = []
    for workers, seed, locale in ((1, "0", "C.UTF-8"), (2, "1", "C"), (4, "77", "tr_TR.UTF-8")):
        arguments, environment = command(tmp_path, f"data{workers}")
        environment |= {"LMEFF_WORKERS": str(workers), "PYTHONHASHSEED": seed, "LC_ALL": locale}
        answer = subprocess.run(
            arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert answer.returncode == 0, answer.stderr
        results.append(prepared(tmp_path, f"data{workers}"))
        # The names are the same; a directory lists them in another order when they were made in another one.
        for file in sorted((tmp_path / "text").rglob("*.jsonl"), reverse=workers == 1):
            content = file.read_bytes()
            file.unlink()
            file.write_bytes(content)
    assert results[0] == results[1] == results[2]
    names = set(results[0])
    assert any(name.endswith(".bin") for name in names)
    manifest = json.loads(next((tmp_path / "data1").glob("same-*/text/manifest.json")).read_text())
    assert manifest["decontaminated"]["num_sentences"] > 0
    assert manifest["left_out"]["train"]["first"]["too short"] > 0


@pytest.mark.slow
def test_killed_anywhere_it_finishes_with_the_same_bytes(tmp_path: Path, shared_data: Path) -> None:
    """F21: killed at times all over, each time with its workers, of which none stays.

    The first is killed while it starts, the second when there is something to go on from, however fast the machine is.
    """
    write_text(tmp_path, shared_data, copies=3)
    arguments, environment = command(tmp_path, "undisturbed")
    environment["LMEFF_WORKERS"] = "2"
    start = time.monotonic()
    subprocess.run(arguments, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=300)
    whole = time.monotonic() - start
    arguments, _ = command(tmp_path, "killed")
    moments = random.Random(1)

    def journals() -> list[str]:
        return [folder for folder, _, names in os.walk(tmp_path / "killed") if "journal.json" in names]

    num_kills = num_resumed = 0
    for attempt in range(12):
        process = subprocess.Popen(
            arguments, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        share = moments.uniform(0.05, 0.1) if attempt == 0 else moments.uniform(0.15, 0.6)
        until = time.monotonic() + whole * share
        while process.poll() is None and not (journals() if attempt == 1 else time.monotonic() > until):
            time.sleep(0.01)
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        num_kills += 1
        num_resumed += bool(journals())
    assert num_kills >= 2
    assert num_resumed >= 1
    answer = subprocess.run(
        arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert answer.returncode == 0, answer.stderr
    assert prepared(tmp_path, "killed") == prepared(tmp_path, "undisturbed")
    assert not list((tmp_path / "killed").rglob("*.unfinished"))
    time.sleep(0.5)
    own = str(tmp_path).encode()
    left = [path for path in Path("/proc").glob("[0-9]*/cwd") if _points_to(path, own)]
    assert not left, "a worker outlived its parent"


def _points_to(link: Path, target: bytes) -> bool:
    try:
        return os.readlink(link).encode().startswith(target)
    except OSError:
        return False


def _prepare_until(place: int, folder: Path, data: str) -> None:
    """In a process of its own: prepares, and dies without a word before the file of number `place` gets its name."""
    import lmeff.corpora.gather as gather
    import lmeff.corpora.reading.records as reading
    from lmeff.corpora import prepare_text
    from lmeff.recipe.sections.corpus import Corpus
    from lmeff.tokens import prepare_tokenizer, prepare_tokens

    gather._SAVE_EVERY_CHARACTERS, reading._BATCH_CHARACTERS = 3_000, 1_000
    replace, rename, count = os.replace, os.rename, 0

    def counted(way: Callable[..., None]) -> Callable[..., None]:
        def move(*arguments: object) -> None:
            nonlocal count
            count += 1
            if count == place:
                os._exit(9)
            way(*arguments)

        return move

    os.replace, os.rename = counted(replace), counted(rename)
    sources = {name: {"paths": [str(folder / f"{name}.jsonl")], "weight": 1} for name in ("a", "b")}
    settings = {"budget": "1500 words", "dev_share": 0.1, "deduplicate": "exact", "clean": "spaces"}
    corpus = prepare_text(Corpus(name="same", sources=sources, **settings), folder / data)
    prepare_tokens(corpus, prepare_tokenizer(corpus, 300))
    os._exit(0)


def test_killed_at_every_file_that_is_written(tmp_path: Path) -> None:
    """Also between what is written and the journal of it, and right after a source has its words."""
    for name in ("a", "b"):
        texts = [f"{name} {i % 150} is  a story of some length, told for the {i % 150}th time." for i in range(400)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    fork = multiprocessing.get_context("fork")
    whole: dict[str, str] = {}
    for place in [0, *range(1, 60)]:
        data = f"data{place}"
        for attempt in (place, 0):
            process = fork.Process(target=_prepare_until, args=(attempt, tmp_path, data))
            process.start()
            process.join(60)
            assert process.exitcode in (0, 9)
            if process.exitcode == 0:
                break
        whole = whole or prepared(tmp_path, data)
        assert prepared(tmp_path, data) == whole, f"killed at file {place}"
        if place and attempt == place:
            break  # there are no more files than that
    assert place > 12
    assert not [name for name in whole if name.endswith(".tmp")]
