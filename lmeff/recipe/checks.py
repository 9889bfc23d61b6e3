"""What must hold between the keys of a section, and between sections."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from lmeff.quantities import format_count
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.anchors import Anchors
from lmeff.recipe.sections.batch import Batch
from lmeff.recipe.sections.curriculum import Curriculum
from lmeff.recipe.sections.distillation import Distillation
from lmeff.recipe.sections.evaluation import Evaluation
from lmeff.recipe.sections.fields import Section
from lmeff.recipe.sections.model import Model
from lmeff.recipe.sections.objective import WITH_MASK_TOKEN, Objective, ObjectiveName, share_predicted
from lmeff.recipe.sections.schedule import Schedule
from lmeff.recipe.sections.training_values import LIGER_KERNELS
from lmeff.recipe.wording import join_with_or
from lmeff.recipe.yaml_lines import Mistake


def cross_check(values: dict[str, Any]) -> Iterator[Mistake]:
    """What is wrong between keys that are right by themselves; sections with mistakes of their own are left out."""
    sections = _valid_sections(values)
    for name, section in sections.items():
        for key, text in section.contradictions():
            yield Mistake((name, *key.split(".")) if key else (name,), text)
    model, batch, anchors = sections.get("model"), sections.get("batch"), sections.get("anchors")
    if isinstance(model, Model):
        yield from _check_family(model, values.get("training"))
        if isinstance(objective := sections.get("objective"), Objective):
            yield from _check_objective(objective, model, batch)
            if isinstance(distillation := sections.get("distillation"), Distillation):
                yield from _check_distillation(distillation, objective.name or model.objectives[0])
                yield from _check_cache(distillation, sections.get("curriculum"))
            if isinstance(curriculum := sections.get("curriculum"), Curriculum):
                yield from _check_curriculum(curriculum, objective.name or model.objectives[0], anchors)
            if isinstance(evaluation := sections.get("evaluation"), Evaluation):
                yield from _check_evaluation(evaluation, objective.name or model.objectives[0])
        if isinstance(batch, Batch):
            yield from _check_sequences(model, batch)
    if isinstance(batch, Batch) and isinstance(anchors, Anchors):
        yield from _check_anchors(anchors, batch)
        yield from _check_lengths(batch, anchors)
        if isinstance(schedule := sections.get("schedule"), Schedule):
            yield from _check_warmup(schedule, anchors, batch)


def _valid_sections(values: dict[str, Any]) -> dict[str, Section]:
    sections = {}
    for name, field in Recipe.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            if name not in values and field.is_required():
                continue
            with suppress(ValidationError):
                sections[name] = field.annotation.model_validate(values.get(name, {}))
    return sections


def _check_objective(objective: Objective, model: Model, batch: Section | None) -> Iterator[Mistake]:
    name = objective.name or model.objectives[0]
    if name not in model.objectives:
        others = join_with_or(model.objectives)
        text = f"'{model.family}' cannot be trained with the objective '{name}', only with {others}"
        yield Mistake(("objective", "name"), text)
    for key, text in objective.misplaced(name):
        yield Mistake(("objective", key), text)
    if name == "permutation" and isinstance(batch, Batch):
        yield from _check_permutation(objective, batch)


def _check_permutation(objective: Objective, batch: Batch) -> Iterator[Mistake]:
    for key, lengths in (("sequence_length", [batch.sequence_length]), ("sequence_lengths", _lengths(batch))):
        if odd := [length for length in lengths if length % 2]:
            yield Mistake(("batch", key), f"{odd[0]} is odd; 'permutation' takes sequences of even length")

    settings = objective.settings("permutation")
    share, span = float(settings["predicted_share"]), int(settings["max_span"])
    length = min([batch.sequence_length, *_lengths(batch)])
    if length % 2 or abs((found := share_predicted(length, share, span)) / share - 1) <= 0.01:
        return
    if abs(share_predicted(length, share, 1) / share - 1) > 0.01:  # whatever the spans
        advice = f"raise it to {1 / length:.3g} with max_span 1" if found > share else "lower it"
        text = f"in sequences of {length}, each with a token that is predicted and one that is not, it is {found:.2%}; {advice}"
        yield Mistake(("objective", "predicted_share"), f"{text}, or take longer sequences")
    else:
        text = f"in sequences of {length}, spans of 1 to {span} are {found:.2%} of the tokens, not {share:.2%}; lower max_span"
        yield Mistake(("objective", "max_span"), text)


def _check_distillation(distillation: Distillation, objective: ObjectiveName) -> Iterator[Mistake]:
    if distillation.cache.kind is not None and objective != "causal":
        text = f"the objective '{objective}' gives teachers other inputs in every step, so nothing can be kept; leave it out"
        yield Mistake(("distillation", "cache", "kind"), text)


def _check_cache(distillation: Distillation, curriculum: Section | None) -> Iterator[Mistake]:
    if distillation.cache.kind is not None and isinstance(curriculum, Curriculum) and curriculum.cuts_anew:
        text = (
            f"curriculum.protocol '{curriculum.protocol}' cuts other sequences later, so nothing can be kept; drop it"
        )
        yield Mistake(("distillation", "cache", "kind"), text)


def _check_curriculum(curriculum: Curriculum, objective: ObjectiveName, anchors: Section | None) -> Iterator[Mistake]:
    if curriculum.scores_with_model and objective not in ("causal", "hybrid"):
        text = f"'{curriculum.order}' is of predicting the next token; the objective '{objective}' has none such"
        yield Mistake(("curriculum", "order"), text)
    if curriculum.is_iterative and isinstance(anchors, Anchors) and anchors.until:
        text = "where the loss stands still, a stage of curriculum.protocol 'iterative' ends, and so would the run; drop it"
        yield Mistake(("anchors", "until"), text)


def _check_evaluation(evaluation: Evaluation, objective: ObjectiveName) -> Iterator[Mistake]:
    """What cannot be measured of a model of this objective is told before it is trained."""
    scoring, is_decoder = evaluation.scoring, objective in ("causal", "hybrid")
    if scoring not in ("auto", "causal") and objective not in WITH_MASK_TOKEN:
        others = join_with_or(WITH_MASK_TOKEN)
        text = f"'{scoring}' needs a mask token, which the objective '{objective}' has none of, only {others}"
        yield Mistake(("evaluation", "scoring"), text)
    if scoring == "causal" and not is_decoder:
        text = f"'causal' is for decoders; a model of the objective '{objective}' sees later tokens; leave it at 'auto'"
        yield Mistake(("evaluation", "scoring"), text)
    for measure in evaluation.measures:
        if measure in ("perplexity", "generation") and not is_decoder:
            text = f"'{measure}' is of decoders; a model of the objective '{objective}' sees later tokens; drop it"
            yield Mistake(("evaluation", "measures"), text)


def _lengths(batch: Batch) -> list[int]:
    return [length for _, length in batch.length_stages() if length != batch.sequence_length]


def _check_family(model: Model, training: object) -> Iterator[Mistake]:
    training = training if isinstance(training, dict) else {}
    if training.get("gradient_checkpointing") is True and not model.gradient_checkpointing:
        text = f"transformers has none for the family '{model.family}'; leave it out, or set batch.micro lower"
        yield Mistake(("training", "gradient_checkpointing"), text)
    if training.get("ddp_find_unused_parameters") is False and model.leaves_parameters_unused:
        text = (
            f"the family '{model.family}' leaves parameters without a gradient, which DDP must look for; leave it out"
        )
        yield Mistake(("training", "ddp_find_unused_parameters"), text)
    if training.get("use_liger_kernel") is True and not model.liger_kernels:
        text = f"there are no kernels of Liger for the family '{model.family}'; leave it out"
        yield Mistake(("training", "use_liger_kernel"), text)
        return
    kernels = training.get("liger_kernel_config")
    for kernel in kernels if isinstance(kernels, dict) else ():
        if kernel in LIGER_KERNELS and kernel not in model.liger_kernels:
            text = f"Liger has no '{kernel}' for the family '{model.family}'"
            yield Mistake(("training", "liger_kernel_config"), text)


def _check_sequences(model: Model, batch: Batch) -> Iterator[Mistake]:
    longest = model.longest_sequence
    if longest and longest < batch.sequence_length:
        text = f"{longest} is less than batch.sequence_length ({batch.sequence_length})"
        yield Mistake(("model", "max_position_embeddings"), text)
    if batch.document_mask and model.document_mask is None:
        text = f"in the family '{model.family}' documents of one sequence cannot be kept apart; leave it out"
        yield Mistake(("batch", "document_mask"), text)


def _check_anchors(anchors: Anchors, batch: Batch) -> Iterator[Mistake]:
    for index, (before, after) in enumerate(zip(anchors.tokens, anchors.tokens[1:], strict=False), start=1):
        if batch.clock.step_of(before) == batch.clock.step_of(after):
            pair = f"{format_count(before)} and {format_count(after)}"
            text = f"{pair} fall on the same step, {batch.clock.step_of(after)}, with batch.tokens {batch.tokens}; drop one"
            yield Mistake(("anchors", "tokens", str(index)), text)


def _check_lengths(batch: Batch, anchors: Anchors) -> Iterator[Mistake]:
    (first, length), last = batch.length_stages()[-1], batch.clock.step_of(anchors.last_tokens)
    if first >= last:
        text = f"a length of {length} begins after step {first}, and the run ends with step {last}; drop it or begin it earlier"
        yield Mistake(("batch", "sequence_lengths"), text)


def _check_warmup(schedule: Schedule, anchors: Anchors, batch: Batch) -> Iterator[Mistake]:
    amount, unit = schedule.warmup_parts()
    last = batch.clock.step_of(anchors.last_tokens)
    steps = {"steps": amount, "tokens": batch.clock.step_of(int(amount)), "share": 0}[unit]
    if anchors.mode == "anneal" and schedule.name not in (None, "wsd"):
        text = f"'{schedule.name}' has no place in anchors.mode 'anneal', which decays in branches: use 'wsd'"
        yield Mistake(("schedule", "name"), text)
    if steps >= last:
        text = f"'{schedule.warmup}' ({steps} steps) must end before the run does: the last anchor is step {last}"
        yield Mistake(("schedule", "warmup"), text)
