"""`lmeff probe`: short looks at a recipe."""

import argparse
import math

from lmeff.cli.argument_types import positive, positive_int
from lmeff.cli.recipe_options import add_recipe
from lmeff.errors import InputError, RunFailed

_STEPS_A_DECADE = 10
"""With fewer the smoothed loss lags behind by a good part of a decade, so that the rate which is found says little."""

SUMMARY = "short looks at a recipe: its learning rate, whether it learns at all, the largest micro-batch"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("what", choices=["lr", "overfit", "memory"])
    add_recipe(parser)
    parser.add_argument("--steps", type=positive_int, metavar="N", help="steps at the most (lr: 120, overfit: 400)")
    parser.add_argument(
        "--first", type=positive, default=1e-6, metavar="RATE", help="lr: the rate to begin with (1e-6)"
    )
    parser.add_argument("--last", type=positive, default=1.0, metavar="RATE", help="lr: the rate to end with (1)")
    parser.add_argument(
        "--sequences", type=positive_int, default=4, metavar="N", help="overfit: sequences to learn (4)"
    )
    parser.add_argument(
        "--devices", type=positive_int, default=1, metavar="N", help="memory: devices that share the batch (1)"
    )


def run(options: argparse.Namespace) -> None:
    from lmeff.models.families import check_family, solved
    from lmeff.quantities import format_bytes
    from lmeff.recipe import read_recipe
    from lmeff.recipe.machine import check_machine

    resolved = solved(read_recipe(options.recipe, options.overrides))
    check_machine(resolved)
    check_family(resolved)
    recipe = resolved.recipe
    num_steps = options.steps or 120
    if options.what == "lr":
        _check_range(options.first, options.last, num_steps)
    if options.what != "memory":
        from lmeff.corpora import prepare_text

        prepare_text(recipe.corpus, recipe.paths.data)  # text that is not there is told before torch is imported
    match options.what:
        case "lr":
            from lmeff.probes.learning_rate import probe_learning_rate

            found, picture = probe_learning_rate(recipe, options.first, options.last, num_steps)
            print(
                f"steepest at {found.steepest:.2g}, lowest at {found.lowest:.2g}, of one seed;"
                f" as a first guess try optimizer.learning_rate={found.suggested:.1e}"
            )
            print(picture)
        case "overfit":
            from lmeff.formats.losses import TRAINING_UNITS
            from lmeff.probes.overfit import probe_overfit

            seen = probe_overfit(recipe, options.sequences, options.steps or 400)
            print(
                f"learns: {seen.num_sequences} sequences from {seen.first_loss:.3f} to {seen.last_loss:.3f}"
                f" {TRAINING_UNITS[recipe.objective_name]} in {seen.num_steps} steps"
            )
        case "memory":
            from lmeff.probes.memory import probe_memory

            with resolved.naming_lines():
                memory = probe_memory(recipe, options.devices)
            print(f"{memory.device}, {format_bytes(memory.total_bytes)}")
            for size, peak in memory.peak_bytes.items():
                print(f"  batch.micro={size}: {'does not fit' if peak is None else format_bytes(peak)}")
            if memory.micro_batch is None:
                raise RunFailed("not even one sequence fits; use a smaller model or batch.sequence_length")
            print(f"largest that fits: batch.micro={memory.micro_batch}")


def _check_range(first: float, last: float, num_steps: int) -> None:
    """Raises InputError for rates that do not rise, and for too few steps to say anything of so many rates."""
    if last <= first:
        raise InputError(f"--last {last:g}: must be more than --first, {first:g}")
    wanted = math.ceil(round(_STEPS_A_DECADE * math.log10(last / first), 6))
    if num_steps < wanted:
        raise InputError(
            f"--steps {num_steps}: too few to find a rate between {first:g} and {last:g}; {wanted} are needed, or fewer from a"
            " higher --first to a lower --last"
        )
