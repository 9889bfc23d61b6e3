"""A recipe to start from with the schema that editors check it by, and the Slurm templates."""

import json
import re
import shlex
import sys
from pathlib import Path

from lmeff.errors import InputError
from lmeff.files import write_text
from lmeff.recipe.json_schema import recipe_json_schema
from lmeff.recipe.yaml_lines import read_yaml
from lmeff.shipped import FOLDER

SCHEMA_NAME = "lmeff.schema.json"
_RECIPE = """\
# yaml-language-server: $schema={schema}
# Everything that decides what a run computes. It works as it is; change what you like.
#   lmeff plan {file}        what it will do and cost
#   lmeff train {file}       do it; stopped, the same command goes on
# `extends: quickstart` at the top would take all that is not said here from a recipe that comes with lmeff.
name: {name}                      # results go to outputs/NAME/seed-S
seed: 0
corpus:
  name: synthetic                 # generated stories, no download. Or text that is downloaded: `lmeff corpora` lists it.
  # Or text of yours: replace the line above by these two, with a name of your choice and files, folders or globs of .txt,
  # .jsonl or .parquet.
  # name: my_text
  # paths: [my_text/]
tokenizer:
  vocab_size: 1000                # 8000 to 50257 for real text
model:
  family: llama
  hidden_size: 96                 # or `size: 20m` (60m, 180m), counted without embeddings
  intermediate_size: 256
  num_hidden_layers: 3
  num_attention_heads: 4
batch:
  tokens: 2048                    # of one step, on any number of devices
  sequence_length: 64
anchors:
  tokens: [0, 50k, 100k, 200k, 400k]    # where the model is kept and scored; training ends at the last
optimizer:
  learning_rate: 3e-3
  weight_decay: 0.01
schedule:
  name: cosine
  warmup: 25 steps                # or `5M tokens`, or a share such as 0.02
evaluation:
  tasks: [lmeff_synthetic]        # minimal pairs of the generated language; lmeff_blimp for English
"""


def write_starter(path: Path) -> list[str]:
    """Writes a recipe and, beside it, its JSON schema; lines to print. Raises InputError for a file that is there."""
    if path.suffix not in (".yaml", ".yml"):
        raise InputError(f"{path}: a recipe's name ends in .yaml")
    if path.exists():
        raise InputError(f"{path}: is there already; name another file, or remove it")
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", path.stem).strip("._-") or "recipe"
    schema = path.parent / SCHEMA_NAME
    write_text(schema, schema_text())
    write_text(path, _RECIPE.format(schema=SCHEMA_NAME, file=shlex.quote(str(path)), name=_as_text(name)))
    return [
        f"{path}: a recipe that works as it is, and {schema}, by which editors complete and check it",
        f"now: lmeff plan {shlex.quote(str(path))}; lmeff train {shlex.quote(str(path))}",
    ]


def _as_text(name: str) -> str:
    """The name as YAML text: quoted where it would be a number, a date or a yes otherwise."""
    return name if read_yaml(f"name: {name}", "name").values == {"name": name} else f'"{name}"'


def schema_text() -> str:
    """What `lmeff schema` prints, a line feed at its end."""
    return json.dumps(recipe_json_schema(), indent=2, ensure_ascii=False) + "\n"


def write_slurm(folder: Path) -> list[str]:
    """Writes the Slurm templates, with their paths and this Python environment; lines to print. Raises InputError for files
    that are there."""
    if not re.fullmatch(r"[\w./-]+", folder.as_posix()):
        raise InputError(f"--slurm {folder}: its name goes into shell scripts; take letters, digits, '.', '_' and '-'")
    sources = sorted(path for path in (FOLDER / "slurm").iterdir() if path.is_file())
    if there := [folder / path.name for path in sources if (folder / path.name).exists()]:
        raise InputError(f"{there[0]}: is there already; name another folder, or remove it")
    for source in sources:
        text = re.sub(r"(?<![\w/])slurm/", f"{folder.as_posix()}/", source.read_text(encoding="utf-8"))
        if source.name == "site.env":
            text = text.replace("; launchers/environment.sh makes this one", "")
            text = text.replace("LMEFF_VENV:=$PWD/.venv", f"LMEFF_VENV:={sys.prefix}")
        write_text(folder / source.name, text)
    return [
        f"{folder}: templates for Slurm; {folder / 'site.env'} is the only file to edit, {folder / 'README.md'} says more",
        f"now: . {folder / 'site.env'}; sbatch --array=0-1 {folder / 'train_array.sbatch'} a.yaml b.yaml",
    ]
