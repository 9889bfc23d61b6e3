"""A recipe as a whole: its sections (`lmeff/recipe/sections/`), and what stands at its top."""

from typing import Annotated, Any, Literal

from pydantic import Field

from lmeff.recipe.sections.anchors import Anchors
from lmeff.recipe.sections.batch import Batch
from lmeff.recipe.sections.checkpoints import Checkpoints
from lmeff.recipe.sections.corpus import Corpus
from lmeff.recipe.sections.curriculum import Curriculum
from lmeff.recipe.sections.distillation import Distillation
from lmeff.recipe.sections.evaluation import Evaluation
from lmeff.recipe.sections.fields import Count, Name, OnResume, Section
from lmeff.recipe.sections.model import AnyModel
from lmeff.recipe.sections.objective import WITH_MASK_TOKEN, Objective, ObjectiveName
from lmeff.recipe.sections.optimizer import Optimizer
from lmeff.recipe.sections.paths import Paths
from lmeff.recipe.sections.publish import Publish
from lmeff.recipe.sections.schedule import Schedule
from lmeff.recipe.sections.tokenizer import Tokenizer


class Recipe(Section):
    """A recipe: everything that decides what a run computes."""

    name: Name
    """Name of the run; its folder is `OUTPUTS/NAME/seed-S`."""
    seed: Annotated[Count, Field(lt=2**31), OnResume.FIXED] = 0
    """Decides initial weights, data order and dropout."""
    deterministic: bool = False
    """Only algorithms that give the same bits every time (transformers' `full_determinism`); on a GPU slower. A CPU in float32
    needs no such wish."""
    paths: Paths = Paths()
    corpus: Corpus
    tokenizer: Tokenizer = Tokenizer()
    model: AnyModel
    objective: Objective = Objective()
    batch: Batch
    anchors: Anchors
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    training: dict[str, Any] = {}
    """`transformers.TrainingArguments` fields under their own names, apart from those that another section owns."""
    checkpoints: Checkpoints = Checkpoints()
    evaluation: Evaluation = Evaluation()
    distillation: Distillation = Distillation()
    curriculum: Curriculum = Curriculum()
    publish: Publish = Publish()

    @property
    def objective_name(self) -> ObjectiveName:
        """The objective's name, where the recipe gives none that of the family."""
        return self.objective.name or self.model.objectives[0]

    @property
    def looks_at_held_out_loss(self) -> bool:
        """Whether held-out losses decide how training goes on."""
        return self.anchors.until is not None or self.curriculum.looks

    @property
    def model_vocab_size(self) -> int:
        """Tokens that the model has an embedding for: those of the text, and `<mask>` as the last one where it is needed."""
        return self.tokenizer.vocab_size + (self.objective_name in WITH_MASK_TOKEN)

    @property
    def is_deterministic(self) -> bool:
        """Whether only deterministic algorithms are used, by lmeff's name for it or transformers'."""
        return self.deterministic or bool(self.training.get("full_determinism"))

    @property
    def schedule_name(self) -> Literal["cosine", "linear", "constant", "wsd"]:
        """The schedule's name, where the recipe gives none the one that fits."""
        if self.schedule.name is not None:
            return self.schedule.name
        if self.anchors.mode == "anneal":
            return "wsd"
        return "constant" if self.optimizer.name == "schedule_free_adamw" else "cosine"
