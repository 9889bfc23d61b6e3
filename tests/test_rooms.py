"""The plan of the house: who may import whom, how long a module may be, and calls that must not be in the code."""

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from house import MODULES, PROJECT

# A name imports names of the lines above it, and itself; names of one line do not know each other.
ORDER = (
    (
        "__init__",
        "clock",
        "environment",
        "errors",
        "files",
        "garbage",
        "intervals",
        "library_internals",
        "logs",
        "packages",
        "paths",
        "progress",
        "quantities",
        "shipped",
        "stateless",
        "text_tables",
    ),
    ("recipe",),
    ("formats",),
    ("corpora",),
    ("tokens",),
    ("models",),
    ("plan",),
    ("objectives",),
    ("revisions",),
    ("hub",),
    ("runs",),
    ("training", "evaluation"),
    ("measures",),
    ("analysis",),
    ("methods",),
    ("probes", "sweeps"),
    ("publishing",),
    ("command_line",),
    ("run",),
    ("cli", "interface"),
)
BASE = ORDER[0]
LEVELS = {name: level for level, names in enumerate(ORDER) for name in names}

MAX_LINES = {"lmeff.run": 150}
MAX_LINES_OF_OTHERS = 350
MAX_MODULES = 12
LISTS_OF_EQUALS = {"lmeff/cli", "lmeff/recipe/sections", "lmeff/models/families", "lmeff/training/callbacks"}


def room_of(module: str) -> str:
    """`lmeff.recipe.schema` is in `recipe`; the package itself is `__init__`."""
    return module.split(".")[1] if "." in module else "__init__"


def imports_of(module: str, path: Path) -> Iterator[tuple[int, str]]:
    """Line and module of every import from lmeff, wherever in the file it stands."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            ancestors = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*ancestors, *([node.module] if node.module else [])])
            names = [f"{source}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else source for name in names]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.split(".")[0] == "lmeff")


def test_imports_are_seen_wherever_they_stand(tmp_path):
    path = tmp_path / "x.py"
    path.write_text(
        "import json\nfrom . import store\nfrom ..quantities import parse_count\n"
        "def f():\n    from lmeff.recipe import read_recipe\n    import lmeff.training.trainer\n"
    )
    assert list(imports_of("lmeff.revisions.x", path)) == [
        (2, "lmeff.revisions.store"),
        (3, "lmeff.quantities"),
        (5, "lmeff.recipe"),
        (6, "lmeff.training.trainer"),
    ]


IMPORTS = {module: list(imports_of(module, path)) for module, path in MODULES.items()}
# The one exception: what scripts import from `lmeff` itself, which is imported when it is asked for.
IMPORTS["lmeff"] = [(line, name) for line, name in IMPORTS["lmeff"] if name != "lmeff.interface"]


def test_everything_in_the_package_has_its_place_in_the_order():
    rooms = {room_of(module) for module in MODULES}
    assert {"recipe", "plan", "training", "evaluation", "run", "cli"} <= rooms
    unknown = sorted(rooms - set(LEVELS))
    assert not unknown, f"new in lmeff/: {', '.join(unknown)}; give each a place in ORDER, right of all that it imports"


def test_a_room_imports_only_rooms_to_its_left():
    wrong = [
        f"{MODULES[module].relative_to(PROJECT)}:{line}: {room_of(module)} imports {room_of(imported)}"
        for module, imports in IMPORTS.items()
        for line, imported in imports
        if (ours := room_of(module)) != (theirs := room_of(imported))
        and theirs not in BASE
        and not LEVELS.get(theirs, -1) < LEVELS.get(ours, 0)
    ]
    assert not wrong, "\n".join(wrong)


def test_base_modules_import_no_room():
    for module in MODULES:
        if room_of(module) in BASE:
            assert {room_of(imported) for _, imported in IMPORTS[module]} <= set(BASE), module


def test_no_modules_import_each_other_in_a_circle():
    graph = {module: {imported for _, imported in imports} - {module} for module, imports in IMPORTS.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("a circle: " + " <- ".join(error.args[1]))


def test_what_is_imported_exists():
    missing = [
        f"{module}:{line}: {name}" for module, lines in IMPORTS.items() for line, name in lines if name not in MODULES
    ]
    assert not missing, missing


@pytest.mark.parametrize("module", MODULES)
def test_modules_are_short(module):
    limit = MAX_LINES.get(module, MAX_LINES_OF_OTHERS)
    num_lines = len(MODULES[module].read_text(encoding="utf-8").splitlines())
    assert num_lines <= limit, f"{module} has {num_lines} lines, at most {limit}: one idea in each module"


def num_modules(folder: Path) -> int:
    return sum(path.name not in ("__init__.py", "__main__.py") for path in folder.glob("*.py"))


def test_folders_are_small():
    folders = {path.parent for path in MODULES.values()}
    wrong = [
        f"{name} has {num_modules(folder)} modules, at most {MAX_MODULES}: make rooms within it"
        for folder in sorted(folders)
        if (name := folder.relative_to(PROJECT).as_posix()) not in LISTS_OF_EQUALS and num_modules(folder) > MAX_MODULES
    ]
    assert not wrong, "\n".join(wrong)


def is_true(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def unsafe_calls(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Calls that run code from data, or from the Hub."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            if names & {"pickle", "dill", "cloudpickle"}:
                yield node.lineno, "pickle runs code when it reads; use JSON or safetensors"
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        keywords = {keyword.arg: keyword.value for keyword in node.keywords}
        if is_true(keywords.get("trust_remote_code")):
            yield node.lineno, "trust_remote_code=True runs code from the Hub"
        if called == "torch.load" and not is_true(keywords.get("weights_only")):
            yield node.lineno, "torch.load needs weights_only=True"
        if called in ("np.load", "numpy.load") and is_true(keywords.get("allow_pickle")):
            yield node.lineno, "allow_pickle=True runs code when it reads"
        if called in ("yaml.load", "yaml.unsafe_load", "yaml.full_load") and "Safe" not in ast.unparse(node):
            yield node.lineno, "yaml.load needs a safe loader; use yaml.safe_load"
        if called in ("eval", "exec"):
            yield node.lineno, f"{called} runs text as code"


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("AutoModel.from_pretrained(x, trust_remote_code=True)", 1),
        ("AutoModel.from_pretrained(x, trust_remote_code=False)", 0),
        ("import pickle", 1),
        ("from pickle import load", 1),
        ("torch.load(x)", 1),
        ("torch.load(x, weights_only=False)", 1),
        ("torch.load(x, map_location='cpu', weights_only=True)", 0),
        ("yaml.load(x, Loader=yaml.Loader)", 1),
        ("yaml.load(x, Loader=yaml.SafeLoader)", 0),
        ("np.load(x, allow_pickle=True)", 1),
        ("model.eval()", 0),
    ],
)
def test_unsafe_calls_are_recognized(code, found):
    assert len(list(unsafe_calls(ast.parse(code)))) == found


def project_files(*suffixes: str) -> list[Path]:
    folders = [PROJECT / name for name in ("lmeff", "recipes", "launchers", "slurm", "tests")]
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in suffixes]
    return sorted(files + [path for path in PROJECT.glob("*") if path.suffix in suffixes])


@pytest.mark.medium
def test_no_file_runs_code_that_comes_with_data():
    wrong = [
        f"{path.relative_to(PROJECT)}:{line}: {why}"
        for path in project_files(".py")
        for line, why in unsafe_calls(ast.parse(path.read_text(encoding="utf-8")))
    ]
    pattern = re.compile(r"trust_remote_code\W{1,3}true", re.IGNORECASE)
    for path in project_files(".yaml", ".sh", ".md", ".sbatch", ".in"):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if pattern.search(line):
                wrong.append(f"{path.relative_to(PROJECT)}:{number}: trust_remote_code runs code from the Hub")
    assert not wrong, "\n".join(wrong)


def is_of_a_step(node: ast.expr) -> bool:
    """Whether it is the tokens or the sequences of one step: `batch_tokens`, `batch.tokens`, `sequences_per_step`."""
    words = ast.unparse(node).split(".")
    return words[-1].strip("_") in ("batch_tokens", "sequences_per_step") or words[-2:] == ["batch", "tokens"]


def clock_arithmetic(tree: ast.AST) -> Iterator[int]:
    """Lines where a step is multiplied by what is in one, or something is divided by it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp):
            multiplies = isinstance(node.op, ast.Mult) and (is_of_a_step(node.left) or is_of_a_step(node.right))
            divides = isinstance(node.op, ast.FloorDiv | ast.Div | ast.Mod) and is_of_a_step(node.right)
            counts_sequences = isinstance(node.op, ast.FloorDiv) and is_of_a_step(node.left)
            if multiplies or divides or counts_sequences:
                yield node.lineno


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("tokens = step * plan.batch_tokens", 1),
        ("tokens = self._batch_tokens * (step - 1)", 1),
        ("step = -(-anchor // recipe.batch.tokens)", 1),
        ("step = math.ceil(anchor / batch.tokens)", 1),
        ("ids = batch.tokens // batch.sequence_length", 1),
        ("first = step * self.sequences_per_step", 1),
        ("step = tokens % batch_tokens", 1),
        ("speed = recipe.batch.tokens / seconds", 0),
        ("size = tokens * width", 0),
        ("tokens = clock.tokens_at(step)", 0),
    ],
)
def test_arithmetic_of_steps_is_recognized(code, found):
    assert len(list(clock_arithmetic(ast.parse(code)))) == found


def test_steps_tokens_and_sequences_meet_in_the_clock_only():
    wrong = [
        f"{path.relative_to(PROJECT)}:{line}: use Clock ({module})"
        for module, path in MODULES.items()
        if module != "lmeff.clock"
        for line in clock_arithmetic(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not wrong, "\n".join(wrong)


# Names of what a run leaves on disk, and the one module that knows each.
NAMES_ON_DISK = {
    "results": "lmeff.formats.run_folder",
    "revisions": "lmeff.formats.run_folder",
    "checkpoints": "lmeff.formats.run_folder",
    "parts": "lmeff.formats.run_folder",
    "outbox": "lmeff.formats.run_folder",
    "plan.json": "lmeff.formats.run_folder",
    "state.json": "lmeff.formats.run_folder",
    "run.log.jsonl": "lmeff.formats.run_folder",
    "report.html": "lmeff.formats.run_folder",
    "manifest.json": "lmeff.files.folders",
    "anchor.json": "lmeff.formats.anchor",
    "provenance.json": "lmeff.formats.provenance",
    "lmeff.json": "lmeff.formats.checkpoint",
    "recipe.yaml": "lmeff.formats.run_folder",
}
NAMES_OF_OTHERS = {
    ("lmeff.corpora.reading.sources", "state.json"),  # of a data set that `datasets` saved
    ("lmeff.cli.init", "recipe.yaml"),  # where `lmeff init` writes
    ("lmeff.cli.report", "report.html"),  # where `lmeff report` writes
    ("lmeff.analysis.report.report", "report.html"),  # the same for a folder
}


def names_on_disk(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Where a name of NAMES_ON_DISK stands as a part of a path: joined with `/`, compared with a `.name`, or inside a longer
    path or pattern. A key of a JSON file may be called the same."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    joined = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            joined |= {id(node.left), id(node.right)}
        if isinstance(node, ast.Compare) and any(
            ast.unparse(one).endswith(".name") for one in (node.left, *node.comparators)
        ):
            joined |= {id(one) for one in (node.left, *node.comparators)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in docstrings:
            continue
        if any(letter.isspace() for letter in node.value):  # words for people
            continue
        for part in (parts := node.value.split("/")):
            if part in NAMES_ON_DISK and (len(parts) > 1 or "." in part or id(node) in joined):
                yield node.lineno, part


@pytest.mark.medium
def test_each_name_on_disk_stands_in_one_module():
    wrong = [
        f"{MODULES[module].relative_to(PROJECT)}:{line}: {name!r} is for {NAMES_ON_DISK[name]} to know"
        for module, path in MODULES.items()
        for line, name in names_on_disk(ast.parse(path.read_text(encoding="utf-8")))
        if NAMES_ON_DISK[name] != module and (module, name) not in NAMES_OF_OTHERS
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ('run / "results" / name', ["results"]),
        ('run.glob("revisions/[!.]*")', ["revisions"]),
        ('open(f"{run}/checkpoints")', ["checkpoints"]),
        ('folder.parent.name == "revisions"', ["revisions"]),
        ('read_json(x)["results"]', []),
        ('PLAN = "plan.json"', ["plan.json"]),
        ('help("where results go (default: RUN/results or outputs)")', []),
    ],
)
def test_names_on_disk_are_recognized(code, found):
    assert [name for _, name in names_on_disk(ast.parse(code))] == found


TESTS = PROJECT / "tests"
TEST_FOLDERS = {"benchmarks", "launchers", "slurm"}  # of what is not in lmeff/
TEST_FILES = sorted(TESTS.rglob("*.py"))


def test_tests_lie_where_what_they_test_lies():
    folders = {path.relative_to(TESTS).parts[0] for path in TEST_FILES if path.parent != TESTS}
    strays = sorted(folders - set(LEVELS) - TEST_FOLDERS)
    assert not strays, f"tests/{strays[0]}: a folder of tests is named after a room of lmeff/"


def is_for_pytest(module: str) -> bool:
    """`test_store`, `revisions.test_store` and `conftest`: what pytest reads, and what nobody else imports."""
    return any(part.startswith("test_") or part == "conftest" for part in module.split("."))


def test_files_of_tests_do_not_import_each_other():
    wrong = [
        f"{path.relative_to(PROJECT)}:{node.lineno}: put what it shares into a module of its own"
        for path in TEST_FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.ImportFrom) and is_for_pytest(node.module or ""))
        or (isinstance(node, ast.Import) and any(is_for_pytest(alias.name) for alias in node.names))
    ]
    assert not wrong, "\n".join(wrong)
    assert all(map(is_for_pytest, ("test_rooms", "evaluation.test_suites", "analysis.conftest")))
    assert not is_for_pytest("launching")


def test_files_of_tests_have_names_of_their_own():
    """pytest knows them by their names alone."""
    names = [path.name for path in TESTS.rglob("test_*.py")]
    assert sorted(set(names)) == sorted(names)
