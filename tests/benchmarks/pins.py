"""What `same_bits.py` pins: each section runs commands in a folder of its own and returns what they left, by name.

A pin is a JSON value. What may differ between two runs of one version is left out of it: times, versions of packages, paths. So
are names of modules and the field `kind`.
"""

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet
from launching import STORIES, read_lines, step_of, wait_until

VARYING = frozenset({"kind", "train_seconds", "time", "tokens_per_second"})
DIGESTED = frozenset({"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"})
LAUNCHERS = ("cpu", "cpu_ddp", "cpu_zero1", "cpu_zero2", "cpu_zero3")
RUN = "outputs/small/seed-1"
RECIPE = """
name: small
seed: 1
corpus: {name: stories, paths: [stories.jsonl], dev_share: 0.1, epochs: 9}
tokenizer: {vocab_size: 320}
model:
  hidden_size: 32
  intermediate_size: 64
  num_hidden_layers: 2
  num_attention_heads: 2
  max_position_embeddings: 128    # the longest sentence that is scored has 66 tokens
  attention_dropout: 0.1
batch: {tokens: 512, sequence_length: 64, micro: 2, log_samples: true}
anchors: {tokens: [0, 5k, 25_600]}
optimizer: {learning_rate: 3e-3}
schedule: {warmup: 5 steps}
training: {logging_steps: 1}
checkpoints: {every_steps: 15, keep: 2}
evaluation: {dev_tokens: 5000}
"""
"""50 steps, with dropout, of 8 sequences each, two at a time, through the text five times."""
VARIATIONS = {
    "best_fit, document_mask, sequence_lengths": (
        "batch.packing=best_fit",
        "batch.document_mask=true",
        "batch.sequence_lengths={0: 32, 5k: 64}",
    ),
    "muon": ("optimizer.name=muon",),
    "schedule_free_adamw": ("optimizer.name=schedule_free_adamw",),
    "restart": ("anchors.mode=restart", "anchors.tokens=[0,4k,8k]"),
    "anneal": ("anchors.mode=anneal", "anchors.tokens=[0,8k,16k]"),
    "converged": (
        "anchors.until=converged",
        "anchors.tokens=[0,5k]",
        "anchors.max_tokens=20k",
        "anchors.patient_after=0",
        "anchors.look_every=1k",
        "anchors.patience=2",
        "anchors.threshold=0.5",
        "schedule.name=constant",
    ),
}
MOODS = [
    {"text": f"{name} is {mood} today.", "label": mood} for name in ("Anna", "Ben", "Carla") for mood in ("sad", "glad")
]
FINE_TUNING = """
epochs: 2
tasks: {mood: {files: {train: moods.jsonl, validation: moods.jsonl}, columns: [text], labels: [sad, glad]}}
"""


class CommandFailed(Exception):
    """A command did not end as it must."""


class Checkout:
    """The commands of the lmeff in one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        without = ("LMEFF_EVAL_DATA", "HF_NAMESPACE", "HF_TOKEN")
        self._environment = {name: value for name, value in os.environ.items() if name not in without} | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.root),
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
            "CUDA_VISIBLE_DEVICES": "",
            "DS_ACCELERATOR": "cpu",
            "HF_HUB_OFFLINE": "1",
            "TORCH_EXTENSIONS_DIR": os.environ.get("TORCH_EXTENSIONS_DIR", f"{sys.prefix}/torch_extensions"),
        }

    def check(self) -> None:
        """Ends the script where another lmeff than that of the folder would be imported."""
        imported = self.run(Path(sys.prefix), "-c", "import lmeff; print(lmeff.__file__)").strip()
        if imported != "LMEFF/lmeff/__init__.py":
            raise SystemExit(f"{self.root}: lmeff is imported from {imported}")

    def start(self, folder: Path, *words: str) -> subprocess.Popen:
        """`python WORDS` in a folder and in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, *words],
            cwd=folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, folder: Path, *words: str) -> str:
        """What `python WORDS` printed on standard output, with the name of the folder in place of its path."""
        done = subprocess.run(
            [sys.executable, *words], cwd=folder, env=self._environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise CommandFailed(f"{' '.join(words)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout.replace(str(folder), "FOLDER").replace(str(self.root), "LMEFF")

    def lmeff(self, folder: Path, *words: str) -> str:
        return self.run(folder, "-m", "lmeff.cli", *words)

    def train(self, folder: Path, *words: str, launcher: str | None = None) -> None:
        """`python -m lmeff.run WORDS`, or the same under `accelerate launch`."""
        config = str(self.root / "launchers" / f"{launcher}.yaml")
        launch = ("-m", "accelerate.commands.launch", "--quiet", "--config_file", config) if launcher else ()
        self.run(folder, *launch, "-m", "lmeff.run", *words)


@dataclass(frozen=True)
class Work:
    """What a section works with: the version whose pins are taken, one that may begin its runs, and an empty folder."""

    version: Checkout
    earlier: Checkout
    folder: Path

    def write_small(self) -> None:
        (self.folder / "stories.jsonl").write_text(STORIES)
        (self.folder / "small.yaml").write_text(RECIPE)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def without_varying(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object without what may differ; of `versions`, those of packages."""
    return {
        key: re.sub(r"\blmeff(\.\w+)+\.(?=\w+$)", "", value) if isinstance(value, str) else value
        for key, value in pairs
        if key not in VARYING and not (key == "versions" and "torch" in value)
    }


def read_json(path: Path) -> dict[str, object]:
    """A file's value without what varies, and whether it is written as ours are, so that equal values mean equal bytes."""
    text = path.read_text(encoding="utf-8")
    plain = text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"
    return {"indented by 2": plain} | json.loads(text, object_pairs_hook=without_varying)


def files(folder: Path) -> dict[str, str]:
    """Every file but hidden ones, with its sha256 where it has no times, versions or paths in it."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in name.parts):
            is_text = path.suffix == ".jsonl" and "text" in name.parts
            digested = is_text or path.name in DIGESTED or path.suffix in (".safetensors", ".bin", ".npy")
            found[str(name)] = sha256(path.read_bytes()) if digested else "is there"
    return found


def results(folder: Path) -> dict[str, object]:
    """The content of result files but hidden ones: JSON without what varies, of tables the sha256 of each column, of JSON lines
    every line. The sha256 of lm-eval's task files is a pin of its own, so that a task file that moves hides nothing else."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = f"result {path.relative_to(folder)}"
        if "/." in name or name.startswith("result ."):
            continue
        if path.suffix == ".json":
            found[name] = value = read_json(path)
            if digest := value.get("lmeff", {}).get("settings", {}).pop("task_files_sha256", None):
                found[f"{name}, task files"] = digest
        elif path.suffix == ".parquet":
            table = pyarrow.parquet.read_table(path)
            found[name] = {
                f"{field.name} {field.type}": sha256(json.dumps(table[field.name].to_pylist()).encode())
                for field in table.schema
            }
        elif path.suffix == ".jsonl":
            found[name] = read_lines(path)
    return found


def losses(run: Path) -> dict[str, list]:
    """Every logged step of a run, or of its parts."""
    keys = ("step", "loss", "grad_norm", "learning_rate", "num_loss_tokens", "num_skipped_steps")
    return {
        str(path.relative_to(run)): [[line[key] for key in keys] for line in read_lines(path)]
        for path in sorted(run.rglob("run.log.jsonl"))
    }


def weights(run: Path) -> dict[str, str]:
    """The sha256 that each revision's anchor.json gives."""
    return {path.parent.name: read_json(path)["weights_sha256"] for path in sorted(run.glob("revisions/*/anchor.json"))}


def of_run(run: Path) -> dict[str, object]:
    """All there is to pin of a complete run but its results."""
    return {
        "losses": losses(run),
        "weights": weights(run),
        "anchors": {path.parent.name: read_json(path) for path in sorted(run.glob("revisions/*/anchor.json"))},
        "sequences of each step": {
            str(path.relative_to(run)): read_lines(path) for path in sorted(run.rglob("samples.jsonl"))
        },
        "plan": read_json(run / "plan.json"),
        "files": files(run),
    }


def interrupt(process: subprocess.Popen, run: Path, step: int) -> None:
    """SIGTERM once that step is logged; the run must say that it can go on."""
    wait_until(lambda: step_of(run) >= step, process, timeout=1200)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate()
    if process.returncode != 75:
        raise CommandFailed(f"{run}: exit code {process.returncode} after SIGTERM\n{said}")


def first_weights(work: Work) -> dict[str, object]:
    """The weights before the first step of the three sizes, with their recipes' vocabularies; killed once they are saved."""
    draw = random.Random(0)
    syllables = [consonant + vowel for consonant in "bcdfghjklmnprstvwz" for vowel in "aeiou"]
    words = ["".join(draw.choice(syllables) for _ in range(draw.randint(2, 5))) for _ in range(60_000)]
    texts = [" ".join(words[first : first + 30] * 2) for first in range(0, len(words), 30)]
    (work.folder / "words.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    found = {}
    for size, vocab_size in (("20m", 16_000), ("60m", 16_000), ("180m", 50_257)):
        settings = {
            "extends": f"base/llama_{size}",
            "name": size,
            "corpus": {"name": "words", "paths": ["words.jsonl"]},
            "tokenizer": {"vocab_size": vocab_size},
            "batch": {"tokens": 32, "sequence_length": 16},
            "anchors": {"tokens": [0, 32]},
            "schedule": {"warmup": 0},
            "evaluation": {"tasks": [], "weights": False, "dev_tokens": 100},
        }
        (work.folder / f"{size}.yaml").write_text(json.dumps(settings))
        revision = work.folder / "outputs" / size / "seed-0" / "revisions" / "seed-0-tokens-0"
        process = work.version.start(work.folder, "-m", "lmeff.run", f"{size}.yaml")
        wait_until(revision.exists, process, timeout=1200)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        found[size] = read_json(revision / "anchor.json")["weights_sha256"]
    return found


def quickstart(work: Work) -> dict[str, object]:
    """The recipe that everybody tries first, up to its anchor at 200k tokens, scored on the way."""
    run = work.folder / "outputs" / "quickstart" / "seed-0"
    interrupt(work.version.start(work.folder, "-m", "lmeff.run", "quickstart"), run, step=100)
    return {
        "weights": weights(run),
        "losses": losses(run)["run.log.jsonl"][:10],
        "text and tokens": files(work.folder / "data"),
        **results(run / "results"),
    }


def engines(work: Work) -> dict[str, object]:
    """The small run under every launcher; under one of them its two processes score the anchors, too."""
    work.write_small()
    found = {}
    for launcher in LAUNCHERS:
        words = [f"name={launcher}"]
        if launcher == "cpu_ddp":
            words += ["evaluation.tasks=[lmeff_synthetic]", "evaluation.limit=5"]
        work.version.train(work.folder, "small.yaml", *words, launcher=launcher)
        run = work.folder / "outputs" / launcher / "seed-1"
        pins = of_run(run) | results(run / "results")
        found |= {f"{launcher}, {name}": value for name, value in pins.items()}
    return found


def variations(work: Work) -> dict[str, object]:
    """The small run with another order, optimizer or mode."""
    work.write_small()
    found = {}
    for number, (variation, words) in enumerate(VARIATIONS.items()):
        work.version.train(work.folder, "small.yaml", *words, f"name=v{number}")
        pins = of_run(work.folder / "outputs" / f"v{number}" / "seed-1")
        found |= {f"{variation}, {name}": value for name, value in pins.items()}
    return found


def plans(work: Work) -> dict[str, object]:
    """What `lmeff plan --json` prints of every recipe that can be run."""
    planned = {
        path.stem: json.loads(work.version.lmeff(work.folder, "plan", str(path), "--json"))
        for path in sorted((work.version.root / "recipes").glob("*.yaml"))
    }
    branches = ("anchors.mode=anneal", "schedule.name=wsd", "schedule.warmup=10 steps")
    gpus = ("--devices", "4", "--gpu", "h100", "--mfu", "0.4")
    said = work.version.lmeff(work.folder, "plan", "180m_hybrid", "--json", *gpus, *branches)
    planned["180m_hybrid, in branches on 4 GPUs"] = json.loads(said)
    return planned


def measures(work: Work) -> dict[str, object]:
    """Every kind of result, of one revision of the small run."""
    work.write_small()
    (work.folder / "moods.jsonl").write_text("\n".join(map(json.dumps, MOODS * 5)))
    (work.folder / "fine_tuning.yaml").write_text(FINE_TUNING)
    work.version.train(work.folder, "small.yaml", "evaluation.weights=false")
    revision = ("--revisions", "seed-1-tokens-25600")
    part = ("--limit", "20", "--tasks", "lmeff_synthetic", "--output")
    for words in (
        ("eval", RUN, *revision, "--tasks", "lmeff_synthetic"),
        ("eval", RUN, *revision, *part, "exact", "--exact"),
        ("eval", RUN, *revision, *part, "adaptive", "--precision", "adaptive"),
        ("perplexity", RUN, *revision),
        ("perplexity", RUN, *revision, "--text", "stories.jsonl", "--way", "packed", "--name", "all"),
        ("generate", RUN, *revision, "--max-new-tokens", "12", "--samples", "2"),
        ("weights", RUN),
        ("finetune", RUN, *revision, "--tasks", "mood", "--recipe", "fine_tuning.yaml"),
    ):
        work.version.lmeff(work.folder, *words)
    return {
        **results(work.folder / RUN / "results"),
        **{f"exact, {name}": value for name, value in results(work.folder / "exact").items()},
        **{f"adaptive, {name}": value for name, value in results(work.folder / "adaptive").items()},
    }


def resumed(work: Work) -> dict[str, object]:
    """A run that the earlier version begins and this one ends, alone and under ZeRO-2 with two processes."""
    work.write_small()
    found = {}
    for launcher in ("cpu", "cpu_zero2"):
        words = ("-m", "lmeff.cli", "train", "small.yaml", f"name={launcher}", "--launcher", launcher)
        run = work.folder / "outputs" / launcher / "seed-1"
        interrupt(work.earlier.start(work.folder, *words), run, step=18)
        work.version.run(work.folder, *words)
        found[f"{launcher}, losses"] = losses(run)
        found[f"{launcher}, weights"] = weights(run)
    return found


def earlier_run(work: Work) -> dict[str, object]:
    """What is said of a complete run of the earlier version, and that it is left as it is."""
    work.write_small()
    words = ("small.yaml", "evaluation.tasks=[lmeff_synthetic]", "evaluation.limit=20")
    work.earlier.train(work.folder, *words)
    before = {path: sha256(path.read_bytes()) for path in (work.folder / RUN / "results").rglob("*") if path.is_file()}
    said: dict[str, Callable[[], str]] = {
        "status": lambda: work.version.lmeff(work.folder, "status", "outputs"),
        "curves": lambda: work.version.lmeff(work.folder, "curves", "outputs", "--csv"),
        "verify": lambda: work.version.lmeff(work.folder, "verify", RUN, "--local"),
    }
    found: dict[str, object] = {name: say().splitlines() for name, say in said.items()}
    work.version.lmeff(work.folder, "eval", RUN)
    after = {path: sha256(path.read_bytes()) for path in (work.folder / RUN / "results").rglob("*") if path.is_file()}
    found["results that are there are not made again"] = before == after
    work.version.train(work.folder, *words)
    found["weights, trained again"] = weights(work.folder / RUN)
    return found


SECTIONS: dict[str, Callable[[Work], dict[str, object]]] = {
    "first weights": first_weights,
    "quickstart": quickstart,
    "engines": engines,
    "variations": variations,
    "plans": plans,
    "measures": measures,
    "resumed": resumed,
    "earlier run": earlier_run,
}
