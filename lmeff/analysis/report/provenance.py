"""What each run was made with, as the files say that it wrote: versions, hashes, dates, machine."""

import hashlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from lmeff.analysis.reading.runs import Run
from lmeff.analysis.report.views import RunView
from lmeff.analysis.scores.table_runs import TableRun
from lmeff.files import sha256_file
from lmeff.formats.run_folder import RunFolder
from lmeff.formats.run_log import read_log

SHORT = 12
"""Characters of a hash where it stands in a table; the whole one is in the text that a pointer shows, and run by run."""
_LIBRARIES = ("torch", "transformers", "lm-eval", "tokenizers", "datasets", "accelerate", "deepspeed", "numpy")


class Fact(NamedTuple):
    what: str
    value: str
    is_hash: bool = False

    @property
    def short(self) -> str:
        return self.value[:SHORT] if self.is_hash else self.value


def facts_of(run: Run) -> list[Fact]:
    """What its files say, in the order to show it."""
    return [fact for fact in _facts(run) if fact.value]


def model_hashes(run: Run) -> list[tuple[str, str]]:
    """The sha256 of the weights of every revision that says it, by its name."""
    found = []
    for anchor in run.anchors:
        scored = {one.about.get("weights_sha256") for one in anchor.results.tasks.values()} - {None}
        known = getattr(anchor.document, "weights_sha256", None) or (scored.pop() if len(scored) == 1 else None)
        found += [(anchor.revision, str(known))] if known else []
    return found


class ProvenanceTable(NamedTuple):
    """Runs side by side."""

    shared: list[Fact]
    """What all of them have in common."""
    columns: list[str]
    rows: list[tuple[RunView, list[Fact | None]]]


def provenance_table(views: Sequence[RunView]) -> ProvenanceTable:
    """What is the same for all runs, and a row of the rest for each; none where nothing differs."""
    by_run = [{fact.what: fact for fact in facts_of(view.run)} for view in views]
    whats = list(dict.fromkeys(what for facts in by_run for what in facts))
    same = [what for what in whats if len({facts.get(what) for facts in by_run}) == 1]
    columns = [what for what in whats if what not in same]
    rows = [(view, [facts.get(what) for what in columns]) for view, facts in zip(views, by_run, strict=True)]
    return ProvenanceTable([by_run[0][what] for what in same], columns, rows if columns else [])


def _facts(run: Run) -> Iterator[Fact]:
    if isinstance(run, TableRun):
        yield Fact("Table", run.folder.name)
        yield Fact("sha256 of the table", _sha256_of_table(run.folder), is_hash=True)
        return
    if run.source:
        yield Fact("Models", run.source)
    else:
        yield from _of_training(run)
    yield from _of_scoring(run)


def _of_training(run: Run) -> Iterator[Fact]:
    known = run.provenance
    yield Fact("Trained", _dates(run))
    commit = known.get("commit")
    yield Fact("lmeff", known.get("lmeff", "") + (f", commit {commit[:SHORT]}{_dirty(commit)}" if commit else ""))
    packages: dict[str, str | None] = known.get("packages", {})
    for name in _LIBRARIES:
        yield Fact(name, packages.get(name) or "")
    yield Fact("Python", known.get("python", ""))
    yield Fact("Platform", known.get("platform", ""))
    yield Fact("Machine", _machine(run))
    yield Fact("Recipe", hashlib.sha256(run.recipe_text.encode()).hexdigest() if run.recipe_text else "", is_hash=True)
    corpus, tokens = known.get("corpus", {}), known.get("tokens", {})
    yield Fact("Text", str(corpus.get("fingerprint", "")), is_hash=True)
    yield Fact("Held-out text", str(corpus.get("held_out_sha256", "")), is_hash=True)
    yield Fact("Tokenizer", str(tokens.get("tokenizer_sha256", "")), is_hash=True)
    yield Fact("Tokens", str(tokens.get("fingerprint", "")), is_hash=True)
    hashes = model_hashes(run)
    yield Fact("Last model", hashes[-1][1] if hashes else "", is_hash=True)


def _of_scoring(run: Run) -> Iterator[Fact]:
    """The versions that scores were made with, and the data of each task that tells."""
    results = [result for task in run.headline_tasks for result in run.results_of(task)]
    versions: dict[str, list[str]] = {}
    for result in results:
        for name, value in (result.about.get("versions") or {}).items():
            if name in ("lmeff", "lm_eval", "torch", "transformers") and value not in versions.setdefault(name, []):
                versions[name].append(value)
    yield Fact("Scored with", ", ".join(f"{name} {' and '.join(values)}" for name, values in versions.items()))
    for task in run.headline_tasks:
        hashes = list(dict.fromkeys(_data(result.about) for result in run.results_of(task)))
        yield Fact(f"Data of {task}", hashes[-1], is_hash=True)


def _data(about: dict[str, Any]) -> str:
    data = about.get("data_sha256") or ""
    if isinstance(data, dict):  # of a group, by task
        return hashlib.sha256("".join(map(str, data.values())).encode()).hexdigest()
    return str(data)


def _dates(run: Run) -> str:
    """From the first to the last line of its logs, or where there is none when its state was last written."""
    logs = [run.log]
    if run.plan and run.plan.mode != "snapshot":
        logs += [read_log(part.log_jsonl) for part in RunFolder(run.folder).parts()]
    times = sorted(line.time for log in logs for line in (*log[:1], *log[-1:]))
    if not times:
        return f"until {_minute(run.state.updated)} UTC" if run.state else ""
    return f"{' to '.join(dict.fromkeys(map(_minute, (times[0], times[-1]))))} UTC"


def _minute(time: str) -> str:
    return time.replace("T", " ")[:16]


def _machine(run: Run) -> str:
    if not run.anchors:
        return run.state.host if run.state else ""
    last = run.anchors[-1].document
    number = f"{last.world_size} x " if last.world_size > 1 else ""
    words = [number + last.device, last.engine, last.precision, last.attention and f"attention {last.attention}"]
    words += [f"compiled ({last.torch_compile})"] if last.torch_compile else []
    return ", ".join(filter(None, [*words, run.state.host if run.state else None]))


def _dirty(commit: str) -> str:
    return " with changes" if commit.endswith("-dirty") else ""


def _sha256_of_table(path: Path) -> str:
    return _sha256_until_changed(path, path.stat().st_mtime_ns) if path.is_file() else ""


@lru_cache(maxsize=100)
def _sha256_until_changed(path: Path, _mtime_ns: int) -> str:
    return sha256_file(path)
