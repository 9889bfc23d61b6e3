"""A recipe for fine-tuning, which is a file of its own."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from lmeff.recipe.sections.fields import Count, Name, Number, PositiveCount, Section

METRICS = ("acc", "f1", "f1_macro", "mcc", "pearson", "spearman", "f1a", "em")
Metric = Literal["acc", "f1", "f1_macro", "mcc", "pearson", "spearman", "f1a", "em"]


class FinetuneSettings(Section):
    """How a model is fine-tuned on a task. The defaults are a quick look: one learning rate, one seed, 10,000 examples."""

    learning_rates: Annotated[list[Annotated[Number, Field(gt=0)]], Field(min_length=1)] = [1e-4]
    """Peak learning rates to try. The one with the best mean over seeds on the dev split is taken."""
    seeds: Annotated[list[Annotated[Count, Field(lt=2**31)]], Field(min_length=1)] = [0]
    """Each decides a new head's weights, the order of the data and dropout. Scores are their mean."""
    epochs: PositiveCount = 5
    """Passes over the training examples. The dev split is scored after each, and the best one is taken."""
    batch_size: PositiveCount = 32
    """Examples of one optimizer step."""
    micro_batch_size: PositiveCount = 32
    """Examples that go through the model at once, at the most; gradients are accumulated. Decides memory and, but for dropout,
    whose masks it changes, not the result."""
    max_length: Annotated[PositiveCount, Field(ge=8)] = 256
    """Tokens of an example, special ones included, and never more than the model takes. The longer text is cut first."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """Shape of the learning rate after warm-up."""
    final_rate: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    """Share of the peak at which `cosine` ends."""
    warmup: Annotated[Number, Field(ge=0, lt=1)] = 0.06
    """Share of the steps over which the learning rate rises."""
    weight_decay: Annotated[Number, Field(ge=0)] = 0.0
    max_grad_norm: Annotated[Number, Field(gt=0)] = 1.0
    best_by: Metric | None = None
    """Metric that decides on the dev split. Default: the task's score, the mean of its main metrics."""
    dev_share: Annotated[Number, Field(gt=0, lt=1)] = 0.1
    """Share of the training examples that is held out to choose learning rate and epoch."""
    max_dev_examples: PositiveCount = 5000
    """Examples of the dev split at the most."""
    max_train_examples: PositiveCount | None = 10_000
    """Training examples at the most, dev split not counted; which ones is decided by their content alone. Null: all."""
    precision: Literal["auto", "float32"] = "auto"
    """`auto`: bfloat16 autocast on a GPU that has it, else float32."""

    @field_validator("learning_rates", "seeds")
    @classmethod
    def _each_once(cls, values: list[Any]) -> list[Any]:
        if len(set(values)) < len(values):
            raise ValueError("holds a value twice")
        return values


class FinetuneFiles(Section):
    train: str
    """JSON lines with the training examples; looked for beside the file that names it, then in the working directory."""
    validation: str
    """JSON lines with the examples to score."""


class FinetuneTask(FinetuneSettings):
    """A task: how it departs from the settings above and, for a task of your own, what it is."""

    files: FinetuneFiles | None = None
    """The files of a task of your own."""
    columns: Annotated[list[str], Field(min_length=1, max_length=2)] | None = None
    """Fields with the one or the two texts of an example."""
    label: str = "label"
    """Field with the label, or with the number to predict."""
    labels: Annotated[list[str], Field(min_length=2)] | None = None
    """Names of the labels in the order of their numbers. Default: all that occur in the training examples, sorted."""
    regression: bool = False
    """Predict a number instead of a label."""
    metrics: Annotated[list[Metric], Field(min_length=1)] | None = None
    """The first is the score. Default: `[acc]`, or `[pearson, spearman]` for regression."""
    train_split: str | None = None
    """Split to train on, such as `validation` where a task has no `train`."""
    validation_split: str | None = None
    """Split to score."""

    @model_validator(mode="after")
    def _whole_task(self) -> "FinetuneTask":
        own = {"columns", "labels", "metrics", "label", "regression"} & self.model_fields_set
        if self.files is None and own:
            raise ValueError(f"{min(own)} is for a task of your own, which needs 'files'")
        if self.files and not self.columns:
            raise ValueError("files needs 'columns' beside it, the fields with the texts")
        if self.files and (self.train_split or self.validation_split):
            raise ValueError("files says already what to train on and what to score; remove the splits")
        if self.regression and self.labels:
            raise ValueError("labels has no meaning with 'regression: true'")
        for metric in self.metrics or []:
            if metric in ("f1a", "em"):
                raise ValueError(f"metrics: {metric} is for multirc alone")
            if (metric in ("pearson", "spearman")) != self.regression:
                raise ValueError(f"metrics: {metric} does not fit {'a number' if self.regression else 'labels'}")
        return self


class FinetuneRecipe(FinetuneSettings):
    """A recipe for `lmeff finetune`: settings for all tasks, and for single ones."""

    tasks: dict[Name, FinetuneTask] = {}
    """What is different for one task, by its name, and tasks of your own."""

    def settings(self, task: str) -> FinetuneSettings:
        """The settings of one task."""
        own = self.tasks.get(task)
        said = {name: getattr(own, name) for name in own.model_fields_set} if own else {}
        names = FinetuneSettings.model_fields
        return FinetuneSettings(**{name: said.get(name, getattr(self, name)) for name in names})
