"""The pages' own commands, run as they stand there; only what would take minutes is made shorter."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import prepared
import pytest
import yaml

from lmeff.cli.help import GROUPS
from lmeff.cli.main import make_parser

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
FIRST = ("README.md", "lmeff/training/README.md")
"""The pages whose runs the others look at."""
PAGES = {
    name: (ROOT / name).read_text()
    for name in (
        *FIRST,
        *sorted(
            str(path.relative_to(ROOT))
            for folder in ("lmeff", "recipes", "launchers", "slurm")
            for path in (ROOT / folder).rglob("README.md")
            if str(path.relative_to(ROOT)) not in FIRST
        ),
    )
}
SHORTER = [
    "corpus.epochs=9",
    "tokenizer.vocab_size=1000",
    "model.hidden_size=32",
    "batch.tokens=1024",
    "anchors.tokens=[0,10k,20k]",
    "schedule.warmup=5 steps",
    "evaluation.limit=2",
    "evaluation.dev_tokens=5000",
]
SHORTER_VERBS = {
    "lmeff train": " ".join(f"'{word}'" for word in SHORTER),
    "lmeff train quickstart": "corpus.synthetic.num_documents=1000",
    "lm_eval": "--limit 2 --device cpu",
    "lmeff lm-eval": "--limit 2 --device cpu",
    "lmeff perplexity": "--limit-tokens 5k --output part",
    "lmeff finetune": "--limit 8 --output tuned",
}


def commands(page: str) -> list[str]:
    """The lines of all bash blocks of a page."""
    return [line for block in re.findall(r"```bash\n(.*?)```", page, re.DOTALL) for line in block.splitlines() if line]


def test_the_commands_are_there() -> None:
    assert commands(README)[:2] == ["bash launchers/quickstart.sh", "lmeff train quickstart"]
    every = [line for page in PAGES.values() for line in commands(page)]
    assert any(line.startswith("lm_eval run") for line in every)
    assert len(every) >= 18


def test_the_front_page_is_short_and_says_what_was_not_tried() -> None:
    assert len(README.splitlines()) <= 110
    assert len(README.split()) <= 1000
    assert re.search(r"\*\*never run\*\* on several\s+GPUs or machines", README)
    assert re.search(r"nor against\s+the real Hugging Face Hub", README)
    for page in PAGES:
        if page not in ("README.md", "recipes/finetune/README.md"):
            assert f"]({page})" in README, f"{page} is linked from the front page"


def run_line(line: str, needs_shell: bool, **options: Any) -> subprocess.CompletedProcess:
    """Without a shell the program `lmeff` is forked from a prepared parent, which saves most of its time."""
    if needs_shell:
        return subprocess.run(line, shell=True, check=False, **options)
    _, *words = shlex.split(line)
    return prepared.run([sys.executable, "-m", "lmeff.cli", *words], **options)


@pytest.mark.slow
def test_the_commands_do_what_they_say(shared_data: Path, tmp_path: Path) -> None:
    """All but the scripts, page after page, in an empty folder; those of the front page by the shell, as a reader does."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
    }
    printed: dict[str, str] = {}
    for name, line in ((name, line) for name, page in PAGES.items() for line in commands(page)):
        if line.startswith("bash launchers/"):
            continue
        shorter = "".join(f" {words}" for verb, words in SHORTER_VERBS.items() if line.startswith(verb))
        answer = run_line(
            line.replace("DIR/", f"{shared_data}/") + shorter,
            needs_shell=name == "README.md" or "$" in line or not line.startswith("lmeff "),
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert answer.returncode == 0, f"{line}\n{answer.stdout}\n{answer.stderr}"
        printed[line] = answer.stdout

    def said(start: str) -> str:
        return next(text for line, text in printed.items() if line.startswith(start))

    assert f"open it in a browser: {tmp_path}/outputs/quickstart/seed-0/report.html" in said("lmeff train quickstart")
    assert "report: outputs/leaner_small/seed-0/report.html" in said("lmeff train leaner_small")
    assert "20k" in said("lmeff curves outputs/quickstart")
    assert said("lmeff curves outputs/quickstart --csv").startswith("run,")
    for name in ("report.html", "quickstart.html"):
        assert (tmp_path / name).stat().st_size > 100_000
    assert "complete" in said("lmeff status")
    assert said("lmeff eval outputs/quickstart").count("lmeff_synthetic") >= 3
    assert said("lmeff eval outputs/leaner_small").count("over 134 pairs") >= 3
    assert "lmeff_synthetic" in said("lm_eval run")
    assert "lmeff_synthetic" in said("lmeff lm-eval run")
    assert "seed-0-tokens-20k" in said("lmeff perplexity")
    assert "distinct-1" in said("lmeff generate")
    assert "leaner_rte" in said("lmeff finetune")
    assert "norm" in said("lmeff weights")
    assert "parameters" in said("lmeff profile")
    assert "4 revisions are what their manifests say" in said("lmeff verify")  # three anchors and the final model
    table = re.search(r"```\n(web: .*?)\n```", PAGES["lmeff/tokens/README.md"], re.DOTALL)[1]
    assert table in said("lmeff tokenizer")


def test_every_verb_is_in_the_table_and_in_a_group_and_every_row_is_a_verb() -> None:
    rows = re.findall(r"^\| `lmeff ([\w-]+)", PAGES["lmeff/cli/README.md"], re.MULTILINE)
    (verbs,) = (action.choices for action in make_parser()._actions if action.choices)
    assert sorted(rows) == sorted(verbs)
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(verbs)


def test_options_that_pages_name_are_there() -> None:
    """Every `--option` beside a verb, in the table and in the blocks."""
    (verbs,) = (action.choices for action in make_parser()._actions if action.choices)
    for page in PAGES.values():
        for line in re.findall(r"(?:^|`)(lmeff [^`\n]*)", page, re.MULTILINE):
            verb = line.split()[1]
            if verb in verbs and verb != "lm-eval":
                unknown = set(re.findall(r"(?<!\w)--[a-z-]+", line)) - set(verbs[verb]._option_string_actions)
                assert not unknown, line


@pytest.mark.parametrize("name", PAGES)
def test_every_file_that_is_named_exists(name: str) -> None:
    folder, page = (ROOT / name).parent, PAGES[name]
    linked = [folder / link for link in re.findall(r"\]\(([^)#:]+)\)", page)]
    named = [ROOT / path for path in re.findall(r"(?<![\w./])(?:recipes|launchers|tests|slurm)/[\w/]+\.\w+", page)]
    assert [str(path) for path in linked + named if not path.exists() and "NAME" not in str(path)] == []


def test_nothing_points_outside_of_the_project() -> None:
    """The tests' default folder of data stands in tests/conftest.py alone."""
    outside = re.compile(r"\.\./shared|PROJECT\.parent|parents\[2\] / \"shared\"")
    files = [
        path for folder in ("lmeff", "recipes", "launchers", "slurm", "tests") for path in (ROOT / folder).rglob("*")
    ]
    own = {ROOT / "tests" / "conftest.py", Path(__file__)}
    for path in [*files, *ROOT.glob("*.md")]:
        if path.suffix in (".py", ".md", ".yaml", ".sh", ".sbatch", ".env") and path not in own:
            assert not outside.search(path.read_text(encoding="utf-8")), path


@pytest.mark.parametrize("name", PAGES)
def test_counts_stand_as_people_read_them(name: str) -> None:
    """2B and 1.6M; names of revisions, branches and files, code and links aside."""
    text = re.sub(r"```.*?```|^    .*?$|`[^`\n]*`|\]\([^)]*\)", " ", PAGES[name], flags=re.DOTALL | re.MULTILINE)
    assert re.findall(r"(?<![\w.,-])\d(?:,?\d){3,}[kM]\b", text) == []


def test_the_citation_file_names_nobody_and_nothing_made_up() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["authors"] == [{"name": "lmeff contributors"}]
    assert not {"doi", "url", "repository-code"} & citation.keys()


def test_the_sizes_that_pages_name_are_the_plans() -> None:
    from lmeff.plan import make_plan
    from lmeff.recipe import read_recipe

    parameters = make_plan(read_recipe("180m_hybrid").recipe).parameters
    assert f"{parameters.non_embedding / 1e6:.1f}M in the layers" in README
    assert f"{parameters.total / 1e6:.0f}M in all" in README
    assert (parameters.total, parameters.embedding) == (232_945_920, 77_194_752)
