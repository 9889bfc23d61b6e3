"""What `model.budget` leads to, in numbers and as text."""

from lmeff.formats.plan import PlanBudget, PlanDesign
from lmeff.models.budget.design import Design
from lmeff.models.families import designs_of, with_shape
from lmeff.recipe.schema import Recipe
from lmeff.text_tables import table_lines


def plan_budget(recipe: Recipe) -> tuple[PlanBudget | None, Recipe]:
    """What a recipe's budget leads to, and the recipe with that shape; None and the same recipe where it has no budget. Raises
    InputError for a budget that leads to nothing."""
    budget = recipe.model.budget
    if budget is None:
        return None, recipe
    best, *others = designs_of(recipe)
    plan = PlanBudget(
        parameters=budget.parameters,
        embedding_share=budget.embedding_share,
        glu_factor=budget.glu_factor,
        found=_planned(best),
        alternatives=[_planned(other) for other in others],
    )
    return plan, with_shape(recipe, best)


def _planned(design: Design) -> PlanDesign:
    return PlanDesign(
        fields=dict(design.fields),
        tie_word_embeddings=design.is_tied,
        parameters=design.total,
        embedding_share=design.share,
        glu_factor=design.factor,
    )


def budget_lines(budget: PlanBudget) -> list[str]:
    """A table of the shape that was found, and of those near it."""
    wishes = {"embedding_share": budget.embedding_share, "glu_factor": budget.glu_factor}
    asked = "".join(f", {name} {value:g}" for name, value in wishes.items() if value is not None)
    has_factor = budget.found.glu_factor is not None
    names = [
        *budget.found.fields,
        "embeddings",
        "parameters",
        "deviation",
        "share",
        *(["factor"] if has_factor else []),
    ]
    rows = [["", *names]]
    for index, one in enumerate([budget.found, *budget.alternatives]):
        shape = [f"{value:,}" for value in one.fields.values()]
        tied = "tied" if one.tie_word_embeddings else "untied"
        deviation = f"{one.parameters / budget.parameters - 1:+.2%}"
        factor = [f"{one.glu_factor:.3f}"] if one.glu_factor is not None else []
        label = "or" if index else "found"
        rows.append([label, *shape, tied, f"{one.parameters:,}", deviation, f"{one.embedding_share:.3f}", *factor])
    return [f"budget     {budget.parameters:,} parameters within 0.5%{asked}", *table_lines(rows, ">", "  ")]
