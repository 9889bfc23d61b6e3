"""What training a recipe needs from the other rooms."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lmeff.formats.anchor import AnchorDocument
from lmeff.formats.plan import PlanDocument
from lmeff.formats.run_folder import RunFolder
from lmeff.plan.beside import MethodCosts, all_costs
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.objective import WITH_MASK_TOKEN
from lmeff.revisions import RevisionListener, RevisionStore
from lmeff.runs.signals import StopRequests
from lmeff.runs.state import RunState
from lmeff.tokens import Tokens
from lmeff.training.callbacks.anchors import AnchorMeasures
from lmeff.training.method import Method


@dataclass(frozen=True)
class Job:
    """What training a recipe needs from the other rooms."""

    recipe: Recipe
    run: RunFolder
    tokens: Tokens
    run_state: RunState
    recipe_yaml: str
    provenance: Mapping[str, Any]
    write_card: Callable[[PlanDocument, AnchorDocument, str], str]
    """Gives the text of README.md from the plan, the anchor and the revision's name."""
    measures: AnchorMeasures
    stop: StopRequests
    accepted_changes: list[str] | None
    """How the recipe has changed since the run began; None when no change is accepted."""
    listener: RevisionListener
    methods: Sequence[Method] = ()
    """Learning methods; each wraps the objective and the order of those before it."""

    @property
    def costs(self) -> MethodCosts:
        """What the methods cost beside training."""
        return all_costs(method.costs() for method in self.methods)


def revision_store(job: Job, plan: PlanDocument, changes: list[dict[str, Any]]) -> RevisionStore:
    of_methods = {name: one for method in job.methods for name, one in method.provenance().items()}
    return RevisionStore(
        folder=job.run.revisions,
        seed=job.recipe.seed,
        tokenizer_folder=job.tokens.tokenizer_folder,
        recipe_yaml=job.recipe_yaml,
        provenance={**job.provenance, **of_methods, "accepted_changes": changes},
        write_card=lambda anchor, revision: job.write_card(plan, anchor, revision),
        listener=job.listener,
        add_bos=job.recipe.tokenizer.add_bos,
        add_mask=job.recipe.objective_name in WITH_MASK_TOKEN,
    )
