"""Whether the rules of a sweep fit its cases: told before any of them starts."""

from collections.abc import Iterator, Sequence

from lmeff.quantities import format_count
from lmeff.recipe.schema import Recipe
from lmeff.recipe.wording import did_you_mean, show
from lmeff.recipe.yaml_lines import KeyPath
from lmeff.sweeps.ranking.section import BEST, DEFAULT_METRIC, MODES, Kill, Ranking

Named = Sequence[tuple[str, Recipe]]
"""The cases by their names, with all seeds."""


def rung_tokens(kill: Kill, recipe: Recipe) -> list[int]:
    """The anchors at which cases are compared: where none may end, none has to wait for the others."""
    anchors = recipe.anchors.tokens[:-1] if kill.at_tokens is None else kill.at_tokens
    return [tokens for tokens in anchors if tokens and tokens >= kill.after_tokens]


def mistakes_with_cases(ranking: Ranking, cases: Named) -> Iterator[tuple[KeyPath, str]]:
    """Keys under `ranking:`, and what is wrong with them for these cases."""
    kill, names = ranking.kill, list(dict.fromkeys(name for name, _ in cases))
    if ranking.rungs:
        yield from _other_modes(ranking.rungs, cases)
    if ranking.promote and ranking.promote.baseline not in names:
        yield ("promote", "baseline"), f"must be a case, not {_said(ranking.promote.baseline, names)}"
    if kill is None:
        return
    if len(names) < 2:
        yield ("kill",), "needs several cases to compare; the seeds of one are not compared"
    if kill.margin and kill.margin.than not in (BEST, *names):
        yield ("kill", "margin", "than"), f"must be {BEST} or a case, not {_said(kill.margin.than, names)}"
    yield from _wrong_rungs(kill, cases)
    yield from _not_comparable(ranking.metric, cases)


def _said(wrong: str, names: Sequence[str]) -> str:
    return f"{show(wrong)}{did_you_mean(wrong, names) or '; the cases are ' + ', '.join(names)}"


def _other_modes(rungs: str, cases: Named) -> Iterator[tuple[KeyPath, str]]:
    what = {"prefix": "points of one run", "own_schedule": "the ends of runs with schedules of their own"}[rungs]
    for name, recipe in cases:
        if recipe.anchors.mode != MODES[rungs]:
            text = (
                f"{rungs}: are {what}, so the recipe needs anchors.mode {MODES[rungs]!r}, not {recipe.anchors.mode!r}"
            )
            yield ("rungs",), f"{text} (case {name})"
            return


def _wrong_rungs(kill: Kill, cases: Named) -> Iterator[tuple[KeyPath, str]]:
    first_name, first = cases[0]
    for name, recipe in cases:
        if recipe.anchors.tokens != first.anchors.tokens:
            yield ("kill",), f"needs equal anchors.tokens in all cases; {first_name} and {name} have different ones"
            return
    there = [tokens for tokens in first.anchors.tokens[:-1] if tokens]
    wrong = [tokens for tokens in kill.at_tokens or () if tokens not in there]
    said = ", ".join(map(format_count, there)) or "none"
    if wrong:
        text = f"{format_count(wrong[0])} is no anchor above 0 and before the last"
        yield ("kill", "at_tokens"), f"{text}; those are {said}"
    elif not (rungs := rung_tokens(kill, first)):
        key = ("kill", "after_tokens") if kill.after_tokens else ("kill",)
        yield key, f"leaves no anchor before the last at which a case could end; anchors there are {said}"
    elif kill.margin and kill.margin.for_tokens > (longest := rungs[-1] - there[0]):
        between = f"from the first anchor, {format_count(there[0])}, to the last rung, {format_count(rungs[-1])}"
        text = f"{format_count(kill.margin.for_tokens)} is longer than {between}, so no case could end by it"
        yield ("kill", "margin", "for_tokens"), f"{text}; {format_count(longest)} at the most"


def _not_comparable(metric: str, cases: Named) -> Iterator[tuple[KeyPath, str]]:
    """Why values of two cases at their anchors are not of the same, as `lmeff sweep rank` would say of them in the end; what
    only the prepared text shows is told later."""
    is_held_out = metric.startswith("dev_")
    not_taken = _not_of_objective if is_held_out else _not_at_anchors
    if text := next(filter(None, (not_taken(metric, name, recipe) for name, recipe in cases)), None):
        yield ("metric",), text
        return
    first_name, first = cases[0]
    decides = _decide_held_out if is_held_out else _decide_scores
    ours = decides(first)
    for name, recipe in cases:
        theirs = decides(recipe)
        different = [what for what in ours if ours[what] != theirs[what]]
        if metric == DEFAULT_METRIC and "tokenizers" in different:
            different.remove("tokenizers")
        if different:
            advice = f"; bits per byte can ({DEFAULT_METRIC})" if different == ["tokenizers"] else ""
            advice = advice or ("; a task's can" if is_held_out else "")
            text = f"{metric} of {first_name} and {name} cannot be compared at rungs, with other {different[0]}"
            yield ("metric",), text + advice
            return


def _not_at_anchors(metric: str, name: str, recipe: Recipe) -> str | None:
    task, evaluation = metric.partition(":")[0], recipe.evaluation
    if task in evaluation.tasks and evaluation.at_anchors:
        return None
    text = f"is not taken at anchors, where cases end by it: evaluation.tasks needs {task}, and at_anchors true"
    return f"{show(metric)} {text} (case {name})"


def _not_of_objective(metric: str, name: str, recipe: Recipe) -> str | None:
    kind = recipe.objective_name
    own = (f"dev_{kind}_loss",) if kind in ("masked", "permutation") else (DEFAULT_METRIC, "dev_perplexity", "dev_loss")
    return None if metric in own else f"{metric} is not taken of a {kind} model, but {own[0]} (case {name})"


def _decide_held_out(recipe: Recipe) -> dict[str, object]:
    """By what people call it, what a held-out loss is of."""
    from lmeff.analysis.reading.held_out import LossSettings, predicted_by

    settings = LossSettings(
        dev_tokens=recipe.evaluation.dev_tokens,
        sequence_length=recipe.batch.sequence_length,
        document_mask=recipe.batch.document_mask,
    )
    sections = {"dev_tokens": "evaluation"}
    return {
        "objectives": predicted_by(recipe.objective_name, recipe.objective),
        "corpora": recipe.corpus.model_dump_json(exclude={"epochs"}),
        **{f"{sections.get(key, 'batch')}.{key}": one for key, one in settings._asdict().items()},
        "tokenizers": recipe.tokenizer,
    }


def _decide_scores(recipe: Recipe) -> dict[str, object]:
    """The same for a task's score. `precision` is left out: scores are the same with both."""
    evaluation, is_masked = recipe.evaluation, recipe.objective_name == "masked"
    automatic = "pseudo_log_likelihood" if is_masked else "causal"
    return {
        "evaluation.limit": evaluation.limit,
        "evaluation.context_start": evaluation.context_start,
        "evaluation.scoring": automatic if evaluation.scoring == "auto" else evaluation.scoring,
    }
