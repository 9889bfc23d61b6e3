"""The other model that documents are scored by, and whether it can. Needs torch only for one that was made elsewhere."""

from lmeff.methods.distillation.sources import TeacherSource
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.model.section import FAMILIES as SECTIONS


def reference_of(recipe: Recipe) -> TeacherSource | None:
    """The model that the recipe names, where its order asks one."""
    reference = recipe.curriculum.reference if recipe.curriculum.order == "reference_loss" else None
    return TeacherSource(reference, "curriculum.reference") if reference else None


def check_reference(source: TeacherSource, recipe: Recipe) -> None:
    """Raises InputError for a model that is not there, does not predict the next token, takes shorter texts than are scored, or
    has other tokens. A reference reads documents alone: unlike a teacher it need not see what the trained model sees."""
    family = source.family
    if "causal" not in SECTIONS[family.name].objectives:
        raise source.wrong(f"a {family.name} does not predict the next token, and documents are scored by that")
    longest, length = family.max_position_embeddings, recipe.batch.sequence_length
    if 0 < longest < length:
        raise source.wrong(f"it takes {longest} tokens, and batch.sequence_length is {length}")
    entries, ours = family.vocab_size, recipe.tokenizer.vocab_size
    if entries not in (ours, ours + 1):  # one more with `<mask>`
        raise source.wrong(f"it has {entries:,} entries, and the tokenizer {ours:,}: it has another tokenizer")
