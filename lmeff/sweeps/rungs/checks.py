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
    """The anchors at which cases are compared."""
    if kill.at_tokens is not None:
        return list(kill.at_tokens)
    return [tokens for tokens in recipe.anchors.tokens[:-1] if tokens and tokens >= kill.after_tokens]


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
    elif not any(tokens >= kill.after_tokens for tokens in rung_tokens(kill, first)):
        key = ("kill", "after_tokens") if kill.after_tokens else ("kill",)
        yield key, f"leaves no anchor before the last at which a case could end; anchors there are {said}"


def _not_comparable(metric: str, cases: Named) -> Iterator[tuple[KeyPath, str]]:
    """Why values of two cases at their anchors are not of the same; what only the prepared text shows is told later."""
    if not metric.startswith("dev_"):
        task = metric.partition(":")[0]
        for name, recipe in cases:
            evaluation = recipe.evaluation
            if task not in evaluation.tasks or not evaluation.at_anchors:
                text = f"is not taken at anchors, where cases end by it: evaluation.tasks needs {task}, and at_anchors true"
                yield ("metric",), f"{show(metric)} {text} (case {name})"
                return
        return
    first_name, first = cases[0]
    for name, recipe in cases:
        different = [
            what
            for what, one, other in (
                ("corpora", _corpus(first), _corpus(recipe)),
                ("evaluation.dev_tokens", first.evaluation.dev_tokens, recipe.evaluation.dev_tokens),
                ("batch.sequence_length", first.batch.sequence_length, recipe.batch.sequence_length),
                ("tokenizers", first.tokenizer, None if metric == DEFAULT_METRIC else recipe.tokenizer),
            )
            if other is not None and one != other
        ]
        if different:
            advice = f"bits per byte can ({DEFAULT_METRIC})" if different == ["tokenizers"] else "a task's can"
            text = f"{metric} of {first_name} and {name} cannot be compared at rungs, with other {different[0]}"
            yield ("metric",), f"{text}; {advice}"
            return


def _corpus(recipe: Recipe) -> str:
    return recipe.corpus.model_dump_json(exclude={"epochs"})
