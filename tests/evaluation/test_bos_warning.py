"""What is said of the token that scores begin with, of folders that nobody vouches for."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from evaluation.families import DECODERS
from transformers import AutoModelForCausalLM, AutoTokenizer

from lmeff.evaluation.bos_warning import bos_warning, warn_of_bos


def copy_with(model_folder: Path, folder: Path, name: str, **changes: object) -> Path:
    """A copy of the model with other values in one of its JSON files."""
    shutil.copytree(model_folder, folder)
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def test_without_a_bos_token_it_is_told_what_stands_there_instead(model_folder: Path, tmp_path: Path):
    folder = copy_with(model_folder, tmp_path / "model", "tokenizer_config.json", bos_token=None)
    assert bos_warning(folder) == "its tokenizer has no BOS token; texts and sentences begin with </s> instead"


@pytest.mark.parametrize("kind", ["llama", "gpt-neox", "mpt", "mamba", "modernbert decoder"])
def test_a_beginning_that_was_never_trained_is_told_of_every_family(kind, model_folder, tmp_path, capsys):
    model = AutoModelForCausalLM.from_config(DECODERS[kind])
    torch.manual_seed(0)
    with torch.no_grad():
        weight = model.get_input_embeddings().weight
        weight.normal_()
        weight[[0, 2]] *= 0.1 / weight[[0, 2]].norm(dim=1, keepdim=True)
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(model_folder).save_pretrained(tmp_path)
    for context_start, what in (("bos", "scores"), ("tokenizer", "texts without a context")):
        warn_of_bos("it", tmp_path, context_start)
        said = capsys.readouterr().out
        assert said.startswith("it: its BOS token '<s>' seems never to have occurred in training")
        assert said.endswith(f"; {what} begin with it all the same\n")


def test_code_of_a_folder_is_not_run_even_if_somebody_says_yes(model_folder: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda question: "y")
    own = {"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}
    folder = copy_with(model_folder, tmp_path / "model", "config.json", **own)
    marker = tmp_path / "marker"
    (folder / "own.py").write_text(
        f"from pathlib import Path\nfrom transformers import LlamaConfig\nPath({str(marker)!r}).touch()\n"
        "class Own(LlamaConfig):\n    model_type = 'own'\n"
    )
    with pytest.raises(ValueError, match="trust_remote_code"):
        bos_warning(folder)
    assert not marker.exists()
