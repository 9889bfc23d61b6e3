"""Older versions of transformers, each in a folder of its own, to load what this version writes."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest

from lmeff.files import locked

ROOT = Path(__file__).resolve().parents[1]
VERSIONS = {
    "4.46.3": ("tokenizers==0.20.3", "huggingface_hub==0.36.0"),
    "4.51.3": ("tokenizers==0.21.4", "huggingface_hub==0.36.0"),
    "4.57.6": ("tokenizers==0.22.2", "huggingface_hub==0.36.0"),
}
"""What goes with each. BabyLM's evaluation pipeline pins 4.51.3."""
_BORROWED = ("torch", "numpy", "regex", "safetensors", "pyyaml", "requests", "tqdm", "packaging")
"""What they need besides, and share with this version's environment."""
_COMPAT = ROOT / ".venv" / "compat"


def run_with(version: str, program: Path, *words: str) -> object:
    """What a program writes as JSON to the file that is its last argument, under that version of transformers."""
    path = os.pathsep.join(map(str, (_installed(version), _borrowed())))
    answer = _COMPAT / f"answer-{version}-{os.getpid()}.json"
    # Without site-packages: an old transformers looks for accelerate, deepspeed and others, and must not find today's.
    command = [sys.executable, "-S", str(program), *words, str(answer)]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(answer.read_text())
    finally:
        answer.unlink(missing_ok=True)


def _installed(version: str) -> Path:
    """The folder with that version, installed once. Without a registry the test is skipped, but not in CI."""
    folder = _COMPAT / f"{version}-py{sys.version_info.major}{sys.version_info.minor}"
    with locked(_COMPAT / f"{folder.name}.lock"):
        if not (folder / "complete").exists():
            wanted = (f"transformers=={version}", *VERSIONS[version])
            command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--disable-pip-version-check"]
            done = subprocess.run(
                [*command, "--upgrade", "--target", str(folder), *wanted], capture_output=True, text=True, check=False
            )
            if done.returncode:
                reason = f"transformers {version} cannot be installed: {done.stderr.strip()[-500:]}"
                pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
            (folder / "complete").touch()
    return folder


def _borrowed() -> Path:
    """A folder with links to the packages of `_BORROWED` and of what they require, and to no others."""
    found: dict[str, Distribution] = {}
    waiting = list(_BORROWED)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name not in found:
            found[name] = distribution(name)
            required = [one for one in found[name].requires or () if not re.search("extra ==", one)]
            names = [re.match(r"[\w.-]+", one)[0] for one in required]
            waiting += [one for one in names if _is_installed(one)]
    folder = _COMPAT / f"borrowed-py{sys.version_info.major}{sys.version_info.minor}"
    with locked(_COMPAT / f"{folder.name}.lock"):
        folder.mkdir(exist_ok=True)
        for one in found.values():
            for top in {file.parts[0] for file in one.files or ()} - {"..", "__pycache__"}:
                link, target = folder / top, Path(one.locate_file(top))
                if link.is_symlink() and link.readlink() != target:
                    link.unlink()
                if not link.exists():
                    link.unlink(missing_ok=True)
                    link.symlink_to(target)
    return folder


def _is_installed(name: str) -> bool:
    try:
        return distribution(name) is not None
    except ModuleNotFoundError:
        return False
