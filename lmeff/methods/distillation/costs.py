"""What the teachers of a recipe cost, before anything runs. Needs no torch for teachers of our own."""

from collections.abc import Iterable, Sequence

from lmeff.errors import RunFailed
from lmeff.methods.distillation.sources import TeacherSource, sources_of
from lmeff.plan import plan_anchors
from lmeff.plan.beside import NOTHING_BESIDE, MethodCosts
from lmeff.plan.compute import flops_of_steps
from lmeff.plan.disk import text_tokens
from lmeff.plan.parts import plan_parts
from lmeff.quantities import format_short
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.batch import Batch

_VALUE_BYTES, _SUM_BYTES = 2, 4
_LARGEST_SHORT = 1 << 16
_UNKNOWN = "what the teachers compute, and the memory they take, is not known"


def bytes_per_position(recipe: Recipe) -> int:
    """What a cache of the recipe keeps of a position."""
    cache, entries = recipe.distillation.cache, recipe.model_vocab_size
    id_bytes = 2 if entries <= _LARGEST_SHORT else 4
    return cache.num_kept(entries) * (id_bytes + _VALUE_BYTES) + (_SUM_BYTES if cache.kind == "top_k" else 0)


def bytes_of_cache(recipe: Recipe, num_positions: int) -> int:
    """Of a pass over so many positions for each length that sequences are cut to."""
    return len(recipe.batch.length_stages()) * num_positions * bytes_per_position(recipe)


def forward_flops_per_token(sources: Iterable[TeacherSource], length: int) -> float:
    """Of all teachers together."""
    return sum(source.family.forward_flops_per_token(length) for source in sources)


def asked_flops(sources: Sequence[TeacherSource], batch: Batch, stretches: Iterable[tuple[int, int]]) -> float:
    """Of teachers that are asked in every step."""
    return flops_of_steps(batch, stretches, lambda length: forward_flops_per_token(sources, length))


def kept_flops(sources: Sequence[TeacherSource], batch: Batch, num_positions: int) -> float:
    """Of teachers that are asked once for all the text, in each of the lengths that it is cut to."""
    return sum(num_positions * forward_flops_per_token(sources, length) for _, length in batch.length_stages())


def distillation_costs(
    recipe: Recipe, sources: Sequence[TeacherSource], num_positions: int | None = None
) -> MethodCosts:
    """Of the whole run, with `num_positions` in one pass over the text, estimated where they are not given."""
    batch, cache = recipe.batch, recipe.distillation.cache
    if cache.kind is None:
        parts = plan_parts(recipe, plan_anchors(recipe))
        stretches = [(part.first_step, part.last_step) for part in parts]
        return MethodCosts(
            flops_teachers=asked_flops(sources, batch, stretches),
            teacher_parameters=sum(source.family.count_parameters().total for source in sources),
            teacher_entries=sum(source.family.vocab_size for source in sources),
        )
    if num_positions is None:
        num_positions = text_tokens(recipe.corpus, recipe.tokenizer.vocab_size)
    if num_positions is None:
        flops = format_short(kept_flops(sources, batch, 1))
        text = (
            f"{bytes_of_cache(recipe, 1):,} bytes and {flops} FLOPs for each token of the text, which is not known yet"
        )
        return MethodCosts(notes=(f"what the teachers say takes {text}",))
    return MethodCosts(
        flops_teachers=kept_flops(sources, batch, num_positions),
        teacher_cache_bytes=bytes_of_cache(recipe, num_positions),
    )


def planned_costs(recipe: Recipe) -> MethodCosts:
    """The same before anything runs. Teachers may still have to be trained; then a note says so. Raises InputError for teachers
    that are there and do not fit."""
    sources = sources_of(recipe)
    if not sources:
        return NOTHING_BESIDE
    away = []
    for source in sources:
        if source.is_missing:
            away.append(f"{_UNKNOWN} before {source.name} is there{source.as_commit}")
            continue
        try:
            source.check_fits(recipe)
        except RunFailed as error:  # the Hub cannot be asked
            away.append(f"{_UNKNOWN}: {error}")
    return MethodCosts(notes=tuple(away)) if away else distillation_costs(recipe, sources)
