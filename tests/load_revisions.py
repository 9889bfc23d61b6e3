"""Loads revisions as a user of transformers does, in whichever version this Python finds, and writes what they do.

python load_revisions.py FOLDER ... OUTPUT.json
"""

import json
import sys
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

TEXTS = [
    "The cat sat on the mat.",
    " The cat sat",
    "  two spaces",
    "cat",
    "don't 123",
    "\nThe dogs\n\nran",
    "日本 🙂 ß",
    "ﬁne naïve cafe\u0301",
    "a  b \n c ",
    "The cat </s> sat <s>",
    "tab\there",
    "",
]
READ_BOTH_WAYS = ("bert", "modernbert", "xlnet")
"""These write nothing: what they say of a word depends on those after it."""
DTYPE = "torch_dtype" if int(transformers.__version__.split(".")[0]) < 5 else "dtype"


def answers(folder: str) -> dict:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    masked = json.loads((Path(folder) / "config.json").read_text())["architectures"][0].endswith("MaskedLM")
    auto_class = AutoModelForMaskedLM if masked else AutoModelForCausalLM
    model = auto_class.from_pretrained(folder, **{DTYPE: "auto"}).eval()
    prompt = torch.tensor([[1, *tokenizer("The cat sat on the mat", add_special_tokens=False).input_ids * 4]])
    with torch.no_grad():
        logits = model(prompt).logits[0]
    written = [[]]
    if model.config.model_type not in READ_BOTH_WAYS:
        written = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=20, do_sample=False
        ).tolist()
    config = model.config
    return {
        "ids": [tokenizer(text).input_ids for text in TEXTS],
        "ids without special tokens": [tokenizer(text, add_special_tokens=False).input_ids for text in TEXTS],
        "ids of pairs": tokenizer("The cat", " sat on").input_ids,
        "tokens": [tokenizer.tokenize(text) for text in TEXTS],
        "decoded": [tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) for text in TEXTS],
        "padded": tokenizer(["The cat sat", "a"], padding=True).input_ids,
        "offsets": tokenizer("The cat sat", return_offsets_mapping=True)["offset_mapping"],
        "special": [tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, len(tokenizer)],
        "dtype": str(model.dtype),
        "num_parameters": sum(weights.numel() for weights in model.parameters()),
        "ties": model.get_input_embeddings().weight is model.get_output_embeddings().weight,
        "lengths": [
            getattr(config, "max_position_embeddings", None),  # Mamba has none
            *(config.vocab_size, config.eos_token_id, config.bos_token_id),
        ],
        "logits": logits.tolist(),
        "written": written[0],
        "text": tokenizer.decode(written[0], skip_special_tokens=True),
    }


if __name__ == "__main__":
    *folders, output = sys.argv[1:]
    found = {folder: answers(folder) for folder in folders}
    with open(output, "w") as file:
        json.dump({"version": transformers.__version__, "answers": found}, file)
