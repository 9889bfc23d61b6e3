"""What a model was made with: software, text and settings."""

import hashlib
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import lmeff

_PACKAGES = (
    "torch",
    "transformers",
    "accelerate",
    "deepspeed",
    "tokenizers",
    "datasets",
    "lm-eval",
    "numpy",
    "safetensors",
)


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of a source checkout, None for an installed package."""
    root = Path(lmeff.__file__).parent.parent
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _chosen(manifest: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """Parts of a manifest; of the splits their sizes without the names of all files."""
    found = {key: manifest[key] for key in keys if key in manifest}
    return found | {
        "splits": {
            side: {key: value for key, value in split.items() if key != "shards"}
            for side, split in found["splits"].items()
        }
    }


def _held_out(corpus: Mapping[str, Any]) -> dict[str, str]:
    """Which text losses are taken over, for telling whether two runs can be compared: other training text changes the
    fingerprint of a corpus, but not this."""
    names = [shard["name"] for shard in corpus["splits"]["dev"].get("shards", [])]
    files = corpus.get("files", {})
    if not names or not all(name in files for name in names):
        return {}
    return {"held_out_sha256": hashlib.sha256("".join(files[name]["sha256"] for name in names).encode()).hexdigest()}


def provenance(settings: Mapping[str, str], corpus: Mapping[str, Any], tokens: Mapping[str, Any]) -> dict[str, Any]:
    """Content of `provenance.json`. `settings` says for every recipe key where its value came from; `corpus` and `tokens` are
    the manifests of the prepared text and tokens."""
    return {
        "format": 1,
        "lmeff": lmeff.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {package: _installed(package) for package in _PACKAGES},
        "corpus": _chosen(
            corpus, ("name", "fingerprint", "rules", "splits", "sources", "cut", "left_out", "decontaminated")
        )
        | _held_out(corpus),
        "tokens": _chosen(tokens, ("fingerprint", "tokenizer_sha256", "vocab_size", "splits", "mixture", "passes")),
        "settings": dict(settings),
    }
