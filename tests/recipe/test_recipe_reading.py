"""Files, what they extend, overrides, and where every value came from."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lmeff.errors import InputError
from lmeff.recipe import read_recipe

ROOT = Path(__file__).parents[2]

RECIPE = """\
name: tiny
corpus: {name: synthetic}
model:
  hidden_size: 32
  intermediate_size: 64
  num_hidden_layers: 2
  num_attention_heads: 2
batch: {tokens: 4k, sequence_length: 50}
anchors:
  tokens: [0, 60k, 1M]
schedule: {warmup: 5 steps}
"""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(name: str, text: str | bytes) -> str:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return name


def mistakes(*overrides: str, path: str = "r.yaml") -> list[str]:
    with pytest.raises(InputError) as caught:
        read_recipe(path, overrides)
    assert all("\n" not in line for line in caught.value.mistakes)
    return list(caught.value.mistakes)


def test_a_file_becomes_a_recipe_with_its_numbers():
    resolved = read_recipe(write("r.yaml", RECIPE))
    assert resolved.recipe.anchors.tokens == [0, 60_000, 1_000_000]
    assert resolved.recipe.batch.tokens == 4000
    assert resolved.values["anchors"]["tokens"] == [0, 60_000, 1_000_000]
    assert resolved.sources == [Path("r.yaml")]


def test_extends_merges_mappings_and_replaces_lists_and_values():
    write("base/a.yaml", RECIPE + "training: {max_grad_norm: 2, bf16: auto}\nevaluation: {tasks: [x, y]}\n")
    write("base/b.yaml", "extends: a.yaml\nseed: 4\nevaluation: {tasks: [z]}\n")
    write("r.yaml", "extends: base/b.yaml\ntraining: {max_grad_norm: 1e0}\nmodel: {num_hidden_layers: 3}\n")
    resolved = read_recipe("r.yaml")
    assert resolved.recipe.seed == 4
    assert resolved.recipe.evaluation.tasks == ["z"]
    assert resolved.recipe.training == {"max_grad_norm": 1, "bf16": "auto"}
    assert (resolved.recipe.model.hidden_size, resolved.recipe.model.num_hidden_layers) == (32, 3)
    assert resolved.sources == [Path("base/a.yaml"), Path("base/b.yaml"), Path("r.yaml")]


def test_of_several_bases_the_later_wins():
    write("a.yaml", RECIPE)
    write("b.yaml", "seed: 1\nname: b\n")
    write("c.yaml", "seed: 2\n")
    resolved = read_recipe(write("r.yaml", "extends: [a.yaml, b.yaml, c.yaml]\n"))
    assert (resolved.recipe.name, resolved.recipe.seed) == ("b", 2)


def test_every_value_knows_where_it_came_from():
    write("base/a.yaml", RECIPE)
    write("r.yaml", "extends: base/a.yaml\n\nname: mine\n")
    origin = read_recipe(
        "r.yaml", ["anchors.tokens=[0,2M]", "training.logging_steps=1", "model={num_hidden_layers: 1}"]
    ).provenance
    assert origin["name"] == "r.yaml:3"
    assert origin["model.hidden_size"] == "base/a.yaml:4"
    assert origin["model.num_hidden_layers"] == "command line: model={num_hidden_layers: 1}"
    assert origin["anchors.tokens"] == "command line: anchors.tokens=[0,2M]"
    assert origin["training.logging_steps"] == "command line: training.logging_steps=1"
    assert origin["optimizer.learning_rate"] == "default"


def test_a_secret_on_the_command_line_is_not_repeated():
    write("r.yaml", RECIPE)
    assert "hf_abc" not in " ".join(mistakes("training.hub_token=hf_abc", "publish.token=hf_abc"))


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("optimizer.learning_rate=3e-4", 3e-4),
        ("anchors.tokens=[0,1.5M,2M]", [0, 1_500_000, 2_000_000]),
        ("checkpoints.every_steps=null", None),
        ("evaluation.at_anchors=no", False),
        ("evaluation.paths.blimp=/data/blimp", "/data/blimp"),
        ("training.logging_steps=1", 1),
        ("training.max_grad_norm=5e-1", 0.5),
        ("training.ddp_timeout=1_800", 1800),
        ("training.bf16=auto", "auto"),
        ("training.bf16=false", False),
        ("training.gradient_checkpointing_kwargs={use_reentrant: false}", {"use_reentrant": False}),
        ("corpus.synthetic.num_documents=5k", 5000),
        ("batch.micro=4", 4),
        ("schedule.warmup=0.02", 0.02),
        ("schedule.warmup=20k tokens", "20k tokens"),
        (" seed = 3 ", 3),
    ],
)
def test_overrides_are_yaml_with_human_numbers(override, value):
    resolved = read_recipe(write("r.yaml", RECIPE), [override])
    found = resolved.values
    for part in override.partition("=")[0].strip().split("."):
        found = found[part]
    assert found == value
    assert type(found) is type(value)


def test_the_last_override_wins():
    assert read_recipe(write("r.yaml", RECIPE), ["seed=1", "seed=2"]).recipe.seed == 2


def test_the_resolved_recipe_reads_back_to_an_equal_one():
    write("base/a.yaml", RECIPE)
    text = "extends: base/a.yaml\noptimizer: {learning_rate: 3e-4, epsilon: 1e-8}\ncheckpoints: {every_steps: null}\n"
    first = read_recipe(
        write("r.yaml", text + "paths: {outputs: 'yes', data: '2024-01-01'}\n"), ["training.run_name='3e-4'"]
    )
    again = read_recipe(write("resolved.yaml", first.to_yaml()))
    assert again.recipe == first.recipe
    assert again.values == first.values
    assert "extends" not in first.to_yaml()
    assert yaml.safe_load(first.to_yaml()) == first.values  # and PyYAML alone reads the same numbers
    assert first.values["optimizer"]["weight_decay"] == 0.01


def test_a_null_that_nobody_wrote_stays_unsaid():
    # Written out, `paths: null` would take precedence over what a corpus's own description says.
    assert "paths" not in read_recipe(write("r.yaml", RECIPE)).values["corpus"]
    again = read_recipe("r.yaml", ["corpus.dev_paths=null"])
    assert again.values["corpus"]["dev_paths"] is None


def test_yaml_without_its_surprises():
    # YAML 1.1 makes 0123 octal, 1:30 ninety and 2024-01-01 a date.
    text = RECIPE.replace("name: tiny", "name: 2024-01-01") + "seed: 0123\npaths: {outputs: 1:30}\n"
    recipe = read_recipe(write("r.yaml", text)).recipe
    assert (recipe.name, recipe.seed, recipe.paths.outputs) == ("2024-01-01", 123, "1:30")


def test_aliases_work_where_they_are_few():
    recipe = read_recipe(
        write("r.yaml", RECIPE + "evaluation: {tasks: &t [a], include_path: &p DIR, paths: {x: *p}}\n")
    ).recipe
    assert recipe.evaluation.paths == {"x": "DIR"}


FILES = {
    "empty.yaml": (b"", "empty.yaml: is empty"),
    "comment.yaml": (b"# only\n", "comment.yaml: is empty"),
    "list.yaml": (b"- a\n", "list.yaml:1: must be a mapping"),
    "text.yaml": (b"hello\n", "text.yaml:1: must be a mapping"),
    "broken.yaml": (b"name: x\ncorpus: {name: [a\n", "broken.yaml:3: not YAML: while parsing a flow"),
    "tab.yaml": (b"name: x\ncorpus:\n\tname: y\n", "tab.yaml:3: not YAML: while scanning"),
    "latin.yaml": ("name: x\nseed: é\n".encode("latin-1"), "latin.yaml:2: is not UTF-8 text"),
    "control.yaml": (b"name: x\nseed: \x07\n", "control.yaml:2: not YAML: a character that YAML does not allow (0x7)"),
    "escape.yaml": (b'name: "\\UFFFFFFFF"\n', "escape.yaml: not YAML"),
    "two.yaml": (b"name: x\n---\nname: y\n", "two.yaml:2: not YAML: expected a single document"),
    "deep.yaml": (b"name: " + b"[" * 20_000, "deep.yaml: nested too deeply"),
    "big.yaml": (b"#" * 200_000, "big.yaml: is larger than 100000 bytes"),
    "bomb.yaml": (
        b"a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        + b"".join(b"a%d: &a%d [*a%d%s]\n" % (n, n, n - 1, b", *a%d" % (n - 1) * 9) for n in range(1, 9)),
        "more than 10000 values; aliases",
    ),
    "self.yaml": (b"name: &a [*a]\n", "self.yaml:1: name.0: refers to itself"),
    "merge.yaml": (b"a: &a {seed: 1}\n<<: *a\n", "merge.yaml:2: '<<' is not read here"),
    "python.yaml": (b"name: !!python/object/apply:os.getcwd []\n", "python.yaml:1: name: the tag !!python/object"),
    "binary.yaml": (b"name: !!binary aGk=\n", "binary.yaml:1: name: the tag !!binary is not read here"),
    "keys.yaml": (b"1: x\n[a]: y\non: z\n? {b: c}\n: d\n", 'keys.yaml:3: the key on is not text; write "on"'),
    "twice.yaml": (b"seed: 1\nname: x\nseed: 2\n", "twice.yaml:3: seed: given twice, first in line 1"),
    "nul.yaml": (b'extends: "a\\0b"\n', "nul.yaml:1: extends: "),
    "extends.yaml": (b"extends: {a: b}\n", "extends.yaml:1: extends: must be a file or a list of files"),
}


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_no_recipes_get_one_clear_line(name):
    content, expected = FILES[name]
    found = mistakes(path=write(name, content))
    assert any(expected in line for line in found), found
    assert all(line.startswith(name) for line in found)


def test_missing_files_and_folders():
    write("recipes/quickstart.yaml", RECIPE)
    assert mistakes(path="recipes/quikstart.yaml") == [
        "recipes/quikstart.yaml: no such file; did you mean 'recipes/quickstart.yaml'?"
    ]
    assert mistakes(path="recipes/quickstart") == [
        "recipes/quickstart: no such file; did you mean 'recipes/quickstart.yaml'?"
    ]
    assert mistakes(path="recipes") == ["recipes: is a folder, not a recipe"]
    assert mistakes(path="recipes/quickstart.yaml/x")[0].startswith("recipes/quickstart.yaml/x: no such file")
    assert "cannot be read" in mistakes(path="a\0b")[0] or "no such file" in mistakes(path="a\0b")[0]


def test_a_file_that_cannot_be_read():
    assert mistakes(path="/proc/self/mem") == ["/proc/self/mem: cannot be read (Input/output error)"]


def test_extends_names_who_extends():
    write("base/llama.yaml", RECIPE)
    write("r.yaml", "name: x\nextends: base/lama.yaml\noptimiser: {learning_rate: 1}\n")
    # What the missing file would have said is not reported as missing, but everything else is.
    assert mistakes() == [
        "r.yaml:2: extends: base/lama.yaml: no such file; did you mean 'base/llama.yaml'?",
        "r.yaml:3: optimiser: unknown key; did you mean 'optimizer'?",
    ]
    write("base/b.yaml", "seed: [")
    write("r.yaml", "extends: base/b.yaml")
    assert mistakes()[0].startswith("r.yaml:1: extends: base/b.yaml:1: not YAML")


def test_circles_and_crowds():
    write("a.yaml", "extends: sub/b.yaml\n")
    write("sub/b.yaml", "extends: ../a.yaml\n")
    assert mistakes(path="a.yaml") == ["sub/b.yaml:1: extends: goes in a circle: a.yaml -> sub/b.yaml -> a.yaml"]
    write("me.yaml", "extends: me.yaml\n")
    assert mistakes(path="me.yaml") == ["me.yaml:1: extends: goes in a circle: me.yaml -> me.yaml"]
    for n in range(30):  # every file extends the next twice: a billion readings
        write(f"{n}.yaml", f"extends: [{n + 1}.yaml, {n + 1}.yaml]\n")
    write("30.yaml", "seed: 1\n")
    assert len([line for line in mistakes(path="0.yaml") if "more than 50 files" in line]) == 1


@pytest.mark.medium
def test_reading_imports_neither_torch_nor_transformers_and_is_quick():
    code = (
        "import sys, time; from lmeff.recipe import read_recipe; read_recipe(sys.argv[1]);"
        "heavy = {'torch', 'transformers', 'accelerate', 'numpy'} & set(sys.modules); assert not heavy, heavy;"
        "print(time.process_time())"
    )
    recipe = str(ROOT / "recipes" / "180m_hybrid.yaml")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    seconds = [
        float(
            subprocess.run(
                [sys.executable, "-c", code, recipe], env=environment, check=True, capture_output=True
            ).stdout
        )
        for _ in range(3)
    ]
    assert min(seconds) < 0.6  # 0.2 on a machine with nothing else to do


@pytest.mark.parametrize(
    ("words", "measures"),
    [
        ((), ("weights",)),
        (("measures=[weights]",), ("weights",)),
        (("measures=[generation, perplexity]",), ("weights", "perplexity", "generation")),
        (("measures=[perplexity]", "weights=false"), ("perplexity",)),
        (("measures=[perplexity]", "at_anchors=false"), ()),
    ],
)
def test_what_is_measured_at_anchors(words, measures):
    evaluation = read_recipe("quickstart", [f"evaluation.{word}" for word in words]).recipe.evaluation
    assert evaluation.measures_at_anchors == measures
    assert evaluation.measures_after_training == ()


def test_what_is_measured_after_training():
    words = ["evaluation.measures=[finetuning, perplexity, profile]", "evaluation.at_anchors=false"]
    evaluation = read_recipe("quickstart", words).recipe.evaluation
    assert evaluation.measures_after_training == ("profile", "finetuning")
