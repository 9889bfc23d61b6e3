"""All measures by their `kind`. A new one is a folder here and a line below; a run takes those that `evaluation.measures` of
the recipe knows too."""

from collections.abc import Callable
from importlib import import_module

from lmeff.formats.run_folder import RunFolder
from lmeff.measures.measure import Measure
from lmeff.recipe.sections.evaluation import Evaluation

MEASURES = {
    "weights": "lmeff.measures.weights.measure:WeightStatistics",
    "perplexity": "lmeff.measures.perplexity.measure:Perplexity",
    "generation": "lmeff.measures.generation.measure:Generation",
    "profile": "lmeff.measures.profile.measure:Profile",
    "finetuning": "lmeff.measures.finetuning.measure:Finetuning",
}
"""`module:Class`, imported when it is asked for."""


def measure_of_run(kind: str, section: Evaluation, run: RunFolder, check: Callable[[], None]) -> Measure:
    """A measure as a run takes it: with the settings that its verb has for a run when nothing else is said. `check` is called
    on the way; what it raises ends the measuring."""
    module, _, name = MEASURES[kind].partition(":")
    measure: Measure = getattr(import_module(module), name).of_run(section, run, check)
    return measure
