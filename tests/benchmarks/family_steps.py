"""The time of a training step of each family and of the hybrid, beside a Llama of like width, interleaved in one process.

    python tests/benchmarks/family_steps.py --width 256 --layers 6 --rows 16 --length 128 --steps 15

A step is what a run's is: the objective's inputs and masks, forward and backward pass of its loss, AdamW. The text is made up.
Prints for each the median seconds, their ratio to Llama's with the middle half of the rounds' ratios, and the same of the FLOPs
that a plan counts.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from lmeff.models.build import build_model
from lmeff.models.dropout import use_stateless_dropout
from lmeff.models.families import family_of
from lmeff.objectives import Pieces, objective_of
from lmeff.objectives.forward import compute_losses_in_forward
from lmeff.recipe import read_recipe
from lmeff.recipe.schema import Recipe

RECIPE = """
name: steps
corpus: {name: synthetic}
tokenizer: {vocab_size: VOCABULARY}
batch: {tokens: TOKENS, sequence_length: LENGTH, micro: ROWS}
anchors: {tokens: [100M]}
"""
KINDS = ("llama", "gpt2", "gptj", "mamba2", "bert", "modernbert", "xlnet", "hybrid")
WARM_UP = 2
"""Steps of each that are not counted."""


def recipe_of(kind: str, options: argparse.Namespace) -> Recipe:
    """Where there is a feed-forward network it has 8 width^2 numbers, in two matrices or three."""
    family, width = "llama" if kind == "hybrid" else kind, options.width
    shape: dict[str, int] = {"hidden_size": width, "num_hidden_layers": options.layers}
    shape |= {"head_dim": 64, "state_size": 64} if family == "mamba2" else {"num_attention_heads": width // 32}
    if family in ("llama", "modernbert"):
        shape["intermediate_size"] = 8 * width // 3 // 8 * 8
    elif family in ("bert", "xlnet"):
        shape["intermediate_size" if family == "bert" else "d_inner"] = 4 * width
    words = [f"model.family={family}", *(f"model.{key}={value}" for key, value in shape.items())]
    words += ["objective.name=hybrid"] if kind == "hybrid" else []
    numbers = {"VOCABULARY": options.vocab_size, "TOKENS": options.rows * options.length}
    text = RECIPE
    for name, number in (numbers | {"LENGTH": options.length, "ROWS": options.rows}).items():
        text = text.replace(name, str(number))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.yaml"
        path.write_text(text)
        return read_recipe(path, words).recipe


def step_of(recipe: Recipe, device: torch.device) -> Callable[[int], None]:
    """A function that trains the step of a number."""
    model, objective = build_model(recipe).to(device).train(), objective_of(recipe)
    place = use_stateless_dropout(model, recipe.seed)
    compute_losses_in_forward(model, objective)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    rows, length = recipe.batch.clock.sequences_per_step, recipe.batch.sequence_length
    drawn = np.random.default_rng(0).integers(3, recipe.tokenizer.vocab_size, (rows, length))
    begins = np.zeros(drawn.shape, bool)
    begins[:, 0] = True

    def step(number: int) -> None:
        place.step, place.slots = number, range(rows)
        pieces = Pieces(drawn, begins, np.arange(rows), False, number, range(rows))
        waiting = objective.inputs(pieces)
        targets = {name: one.to(device) for name, one in waiting.pop("targets").items()}
        given = {name: one.to(device) if torch.is_tensor(one) else one for name, one in waiting.items()}
        with torch.no_grad():
            inputs = objective.prepare(given | {"targets": targets})
        weight = objective.total_weight(targets)
        divisor = objective.num_labeled(targets) if weight is None else weight
        if getattr(model.config, "use_cache", False):
            inputs.setdefault("use_cache", False)
        model(**inputs, num_labeled=divisor.float())["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--vocab-size", type=int, default=4096)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--steps", type=int, default=15)
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    recipes = {kind: recipe_of(kind, options) for kind in KINDS}
    steps = {kind: step_of(recipe, device) for kind, recipe in recipes.items()}
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number in range(WARM_UP + options.steps):
        for kind, step in steps.items():
            start = time.perf_counter()
            step(number)
            if number >= WARM_UP:
                seconds[kind].append(time.perf_counter() - start)
    print(f"{options.rows} rows of {options.length} tokens, {torch.get_num_threads()} threads, on {device}")
    flops = {kind: family_of(recipe).flops_per_token(options.length) for kind, recipe in recipes.items()}
    for kind, times in seconds.items():
        ratios = [own / llama for own, llama in zip(times, seconds["llama"], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        parameters = family_of(recipes[kind]).count_parameters().total
        print(
            f"{kind:<11} {parameters / 1e6:6.2f}M parameters {statistics.median(times):8.3f} s {middle:6.2f} times llama"
            f" ({low:.2f} to {high:.2f}); {flops[kind] / flops['llama']:5.2f} times its FLOPs"
        )


if __name__ == "__main__":
    main()
