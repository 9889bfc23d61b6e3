"""Model cards: of a revision, and of a repository's main branch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from huggingface_hub import ModelCardData

from lmeff.formats.anchor import HELD_OUT, AnchorDocument
from lmeff.formats.plan import PlanDocument
from lmeff.formats.result import scoring_words
from lmeff.models.families import Family, family_of
from lmeff.quantities import format_short, format_tokens
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.batch import Batch
from lmeff.revisions.card_objective import (
    TRAINED,
    has_bits_per_byte,
    held_out_rows,
    held_out_text,
    held_out_words,
    loss_text,
    objective_words,
    scoring_paragraph,
    training_loss_words,
)
from lmeff.revisions.card_scores import CardScore, context_start_words, eval_results, part_words, score_text


@dataclass(frozen=True)
class CardRow:
    """One point of the curve that a revision is part of."""

    anchor: AnchorDocument
    scores: tuple[CardScore, ...]


_INTERVALS = (
    "In brackets: the 95% interval over the examples of a task. It does not say how another seed would come out."
)

_CARD = """\
---
{metadata}
---
# {name}, seed {seed}, after {tokens} tokens

{title} of {parameters} parameters ({non_embedding} without embeddings), pre-trained from scratch{trained} on `{corpus}`
up to {exact_tokens:,} tokens (step {step:,} of {num_steps:,}, {epoch:.2f} passes over the text). It is one point of a learning
curve, kept for study.

```python
from transformers import {auto_class}, AutoTokenizer

name, revision = {source}
model = {auto_class}.from_pretrained(name, revision=revision)
tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
```

Every training document began with `<s>`. {bos}
{scored}
## Its place on the curve

{curve}
{picture}
## Training

| | |
|---|---|
| training {loss_name}{loss_steps} | {loss} |
{held_out}
| text | {data} |
| model | {shape} |{objective}{taught_by}{curriculum}
| batch | {batch_tokens:,} tokens in sequences of {sequences} |{loss_tokens}
| optimizer | {optimizer} |
| schedule | {schedule} |
| training FLOPs so far | {flops} |{flops_beside}
| device | {device} |

`recipe.yaml` is the whole recipe, `anchor.json` the exact counts, `provenance.json` what it was made with, `manifest.json` the
sha256 of every file.

## Limitations

It has seen little text, and is meant for the study of learning, not for use. It is not tuned to follow instructions or to be
safe, repeats what its text says and leaves out, and its sentences should not be taken for facts. Held-out loss and scores hold
for the tokenizer, text and settings named here.
"""

_PUT_BOS = "The tokenizer does not add it: put it in front of a prompt."

_MAIN = """\
---
{metadata}
---
# {name}

{plural}, trained from scratch on `{corpus}` with lmeff and kept at exact numbers
of training tokens. Every row is a branch: pass its name as `revision`.

```python
from transformers import {auto_class}

model = {auto_class}.from_pretrained("{repository}", revision="{example}")
```

{table}
{picture}
{weights} `revisions.json` holds this table for programs. What a model was trained with, its limitations and its results stand
in the card of its branch.
"""


def _metadata(name: str, recipe: Recipe, family: type[Family], scores: Sequence[CardScore] = ()) -> str:
    results = eval_results(scores)
    objective: list[str] = [recipe.objective_name] if recipe.objective_name != "causal" else []
    objective += ["distillation"] if recipe.distillation.is_used else []
    objective += ["curriculum"] if recipe.curriculum.protocol else []
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag="fill-mask" if family.auto_class == "AutoModelForMaskedLM" else "text-generation",
        tags=["lmeff", family.model_type, *objective, "learning-curve"],
        license=recipe.publish.license,
        model_name=name if results else None,
        eval_results=results or None,
    )
    return data.to_yaml()


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def _curve(recipe: Recipe, rows: Sequence[CardRow], anchor: AnchorDocument, warnings: Sequence[str]) -> str:
    tasks = list(dict.fromkeys((score.task, score.metric) for row in rows for score in row.scores))
    has_bytes = has_bits_per_byte(recipe)
    body = []
    for row in rows:
        found = {(score.task, score.metric): score for score in row.scores}
        tokens = format_tokens(row.anchor.nominal_tokens)
        here = f"**{tokens}**" if row.anchor.step == anchor.step else tokens
        body.append([here, held_out_text(row.anchor, row.anchor.held_out[1] if row.anchor.held_out else None)])
        body[-1] += [held_out_text(row.anchor, row.anchor.dev_bits_per_byte)] if has_bytes else []
        body[-1] += [score_text(found.get(task)) for task in tasks]
    losses = [f"held-out {held_out_words(recipe)[0]}", *(["bits per byte"] if has_bytes else [])]
    table = _table(["tokens", *losses, *(f"{task} ({metric})" for task, metric in tasks)], body)
    intervals = [_INTERVALS] if any("[" in cell for cells in body for cell in cells) else []
    return table + "".join(f"\n{note}\n" for note in [*intervals, *_notes(rows), *warnings])


def _notes(rows: Sequence[CardRow]) -> list[str]:
    """What to know about the scores of a curve, by task; with the anchors where it does not hold for all of them."""
    anchors: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for score in row.scores:
            for about in _about(score):
                anchors.setdefault((score.task, about), []).append(format_tokens(row.anchor.nominal_tokens))
    return [
        f"{task} (at {', '.join(dict.fromkeys(at))} tokens): {about}."
        if len(set(at)) < len(rows)
        else f"{task}: {about}."
        for (task, about), at in anchors.items()
    ]


def _about(score: CardScore) -> Iterator[str]:
    if score.limit:
        yield f"only the {part_words(score.limit)} were scored"
    if score.is_adaptive:
        yield "in adaptive precision: bfloat16, and float32 for choices that could come out otherwise"
    if score.num_items is not None:
        yield f"intervals over {score.num_items:,} items, since several pairs were made from one"
    if words := context_start_words(score):
        yield words
    if words := scoring_words(score.scoring):
        yield words


def _sequences(batch: Batch) -> str:
    words = [str(batch.sequence_length)]
    if batch.packing == "best_fit":
        words.append("documents packed by best fit, with padding")
    if batch.document_mask:
        words.append("documents do not see each other")
    if batch.sequence_lengths:
        words.append(
            f"lengths by tokens {', '.join(f'{key}: {length}' for key, length in batch.sequence_lengths.items())}"
        )
    return "; ".join(words)


def _loss_tokens(batch: Batch, anchor: AnchorDocument) -> str:
    """A row with the number of positions that had a loss, where that does not follow from the number of tokens."""
    if anchor.num_loss_tokens is None or (batch.is_plain and anchor.loss_kind is None):
        return ""
    return f"\n| tokens with a loss so far | {anchor.num_loss_tokens:,} |"


def _taught_by(recipe: Recipe) -> str:
    """A row of a distilled model."""
    one = recipe.distillation
    if not one.is_used:
        return ""
    how = f"alpha {one.alpha:g}, temperature {one.temperature:g}, average of {one.average}, reduction {one.reduction}"
    kept = f", {one.cache.num_kept(recipe.model_vocab_size)} of {one.cache.kind}" if one.cache.kind else ""
    return f"\n| teachers | {', '.join(f'`{name}`' for name in one.teachers)}; {how}{kept} |"


def _curriculum(recipe: Recipe, anchor: AnchorDocument) -> str:
    """A row of a model that read some documents before others."""
    one = recipe.curriculum
    if one.protocol is None:
        return ""
    words: list[str] = [one.protocol]
    if one.is_iterative:
        first = ", hardest first" if one.hardest_first else ""
        words.append(
            f"by {one.order_name}{first}, from {one.share_of(0):.3g} of the text, pacing {one.pacing or 'plateau'}"
        )
    words += [f"keeping {', '.join(one.faults)} of the published protocol"] if one.faults else []
    seen = anchor.num_documents_seen
    words += [] if seen is None else [f"{seen:,} different documents so far"]
    return f"\n| curriculum | {'; '.join(words)} |"


def _flops_beside(anchor: AnchorDocument) -> str:
    """Rows of what learning methods computed beside training."""
    beside = {"of the teachers": anchor.flops_teachers, "of scoring text": anchor.flops_scoring}
    return "".join(f"\n| FLOPs {whose} so far | {format_short(flops)} |" for whose, flops in beside.items() if flops)


def model_card(
    recipe: Recipe,
    plan: PlanDocument,
    anchor: AnchorDocument,
    revision: str,
    *,
    rows: Sequence[CardRow] = (),
    warnings: Sequence[str] = (),
    provenance: Mapping[str, Any] | None = None,
    source: tuple[str, str] | None = None,
    picture: str | None = None,
) -> str:
    """README.md of a revision.

    `rows` is the curve up to here with the scores so far; `warnings` what of it cannot be compared or was left out; `source`
    the repository and branch to load it from, when they are known; `picture` the path of the curve's picture beside the card.
    """
    rows = rows or [CardRow(anchor, ())]
    objective = objective_words(recipe)
    own = next((row.scores for row in rows if row.anchor.step == anchor.step), ())
    optimizer, schedule = recipe.optimizer, recipe.schedule
    train = (provenance or {}).get("tokens", {}).get("splits", {}).get("train")
    about_text = f"`{recipe.corpus.name}`"
    if train:
        about_text += f", {train['num_documents']:,} documents, {train['num_tokens']:,} tokens"
    model = recipe.model.model_dump(exclude={"budget"}, exclude_none=True, exclude_defaults=True)
    adds = "The tokenizer adds it to every text." if recipe.tokenizer.add_bos else _PUT_BOS
    family = type(family_of(recipe))
    return _CARD.format(
        bos=adds,
        scored=scoring_paragraph(recipe),
        title=family.title,
        trained=TRAINED[recipe.objective_name],
        auto_class=family.auto_class,
        metadata=_metadata(f"{recipe.name}, {revision}", recipe, family, own),
        name=recipe.name,
        seed=recipe.seed,
        tokens=format_tokens(anchor.nominal_tokens),
        parameters=format_tokens(plan.parameters.total),
        non_embedding=format_tokens(plan.parameters.non_embedding),
        corpus=recipe.corpus.name,
        exact_tokens=anchor.exact_tokens,
        step=anchor.step,
        num_steps=plan.num_steps,
        epoch=anchor.epoch,
        source=f'"{source[0]}", "{source[1]}"'
        if source
        else f'"PATH", None  # this folder; or repository and "{revision}"',
        curve=_curve(recipe, rows, anchor, warnings),
        picture=f"\n![The learning curve up to here]({picture})\n" if picture else "",
        loss_name=training_loss_words(recipe),
        loss=loss_text(anchor.loss),
        loss_steps=f", of step {anchor.step:,} alone" if anchor.loss is not None else "",
        held_out=held_out_rows(recipe, anchor),
        data=about_text,
        taught_by=_taught_by(recipe),
        curriculum=_curriculum(recipe, anchor),
        shape=", ".join(f"{key} {value}" for key, value in model.items()) or recipe.model.family,
        objective=f"\n| objective | {objective} |" if objective else "",
        batch_tokens=plan.batch_tokens,
        sequences=_sequences(recipe.batch),
        loss_tokens=_loss_tokens(recipe.batch, anchor),
        optimizer=f"{optimizer.name}, learning rate {optimizer.learning_rate:g}, betas {list(optimizer.betas)}, weight decay"
        f" {optimizer.weight_decay:g} (none on {family.without_weight_decay})",
        schedule=f"{recipe.schedule_name}, warm-up {schedule.warmup}, anchors in mode {anchor.mode}",
        flops=format_short(anchor.flops),
        flops_beside=_flops_beside(anchor),
        device=f"{anchor.world_size} x {anchor.device}",
    )


def main_card(
    recipe: Recipe, repository: str, index: Sequence[Mapping[str, Any]], *, picture: str | None, has_weights: bool
) -> str:
    """README.md of the main branch, from the rows of its index."""
    says_number = len({row["dev_tokens"] for row in index if row.get("dev_tokens")}) > 1
    rows = [
        [
            f"`{row['branch']}`",
            str(row["seed"]),
            format_tokens(row["nominal_tokens"]),
            _index_loss(row, says_number),
            ", ".join(_index_score(task, value, row) for task, value in row["scores"].items()),
            f"same weights as `{row['same_as']}`" if row["same_as"] else "",
        ]
        for row in index
    ]
    family = type(family_of(recipe))
    return _MAIN.format(
        plural=family.plural,
        auto_class=family.auto_class,
        metadata=_metadata(recipe.name, recipe, family),
        name=repository.partition("/")[2],
        corpus=recipe.corpus.name,
        repository=repository,
        example=index[-1]["branch"] if index else "",
        table=_table(["revision", "seed", "tokens", f"held-out {held_out_words(recipe)[0]}", "scores", ""], rows),
        picture=f"\n![Learning curves]({picture})\n" if picture else "",
        weights="This branch holds the final model." if has_weights else "This branch holds no weights, on purpose.",
    )


def _index_loss(row: Mapping[str, Any], says_number: bool) -> str:
    loss = loss_text(next((row[name] for name in HELD_OUT if row.get(name) is not None), None))
    return f"{loss} over {row['dev_tokens']:,} tokens" if says_number and row.get("dev_tokens") else loss


def _index_score(task: str, value: float, row: Mapping[str, Any]) -> str:
    limit, starts = row.get("limits", {}).get(task), row.get("context_starts", {})
    about = [part_words(limit)] if limit else []
    if task in starts:
        about.append(f"context_start {starts[task] or 'not recorded'}")
    if scoring := row.get("scorings", {}).get(task):
        about.append(f"scoring {scoring}")
    return f"{task} {value:.4f}" + (f" ({', '.join(about)})" if about else "")
