"""The model card of a revision."""

from lmeff.quantities import format_count, format_short
from lmeff.recipe.documents import AnchorDocument, PlanDocument
from lmeff.recipe.schema import Recipe

_CARD = """\
---
library_name: transformers
pipeline_tag: text-generation
tags: [lmeff, llama, learning-curve]
---
# {name}, seed {seed}, after {tokens} tokens

A Llama language model of {parameters} parameters ({non_embedding} without embeddings), pre-trained from scratch on `{corpus}`
up to {exact_tokens:,} tokens (step {step:,} of {num_steps:,}, {epoch:.2f} passes over the text). It is one point of a learning
curve, kept for study; it is not tuned to follow instructions or to be safe.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained(PATH)  # this folder, or repository and revision="{revision}"
tokenizer = AutoTokenizer.from_pretrained(PATH)
```

Every training document began with `<s>`. The tokenizer does not add it: put it in front of a prompt.

| | |
|---|---|
| training loss (nats per token) | {loss} |
| held-out loss (nats per token) | {dev_loss} |
| held-out bits per byte | {dev_bits_per_byte} |
| batch | {batch_tokens:,} tokens in sequences of {sequence_length} |
| training FLOPs so far | {flops} |

`recipe.yaml` is the whole recipe, `anchor.json` the exact counts, `manifest.json` the sha256 of every file.
"""


def _loss(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4f}"


def model_card(recipe: Recipe, plan: PlanDocument, anchor: AnchorDocument, revision: str) -> str:
    """README.md of a revision."""
    return _CARD.format(
        name=recipe.name,
        seed=recipe.seed,
        tokens=format_count(anchor.nominal_tokens),
        parameters=format_short(plan.parameters.total),
        non_embedding=format_short(plan.parameters.non_embedding),
        corpus=recipe.corpus.name,
        exact_tokens=anchor.exact_tokens,
        step=anchor.step,
        num_steps=plan.num_steps,
        epoch=anchor.epoch,
        revision=revision,
        loss=_loss(anchor.loss),
        dev_loss=_loss(anchor.dev_loss),
        dev_bits_per_byte=_loss(anchor.dev_bits_per_byte),
        batch_tokens=plan.batch_tokens,
        sequence_length=plan.sequence_length,
        flops=format_short(anchor.flops),
    )
