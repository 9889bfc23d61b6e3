"""What a sweep costs: its cases added up, and what they share counted once. No torch."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from lmeff.formats.plan import PlanDocument
from lmeff.methods import method_costs
from lmeff.plan import make_plan
from lmeff.plan.beside import MethodCosts, all_costs
from lmeff.plan.disk import prepared_text_bytes, prepared_token_bytes, text_bytes
from lmeff.quantities import format_bytes, format_duration, format_short, format_tokens
from lmeff.recipe.schema import Recipe
from lmeff.runs.command_line import with_solved_budget
from lmeff.sweeps.cases import Case, Sweep
from lmeff.sweeps.rungs.costs import format_rungs, plan_rungs
from lmeff.text_tables import table_lines


def plan_sweep(
    sweep: Sweep,
    *,
    world_size: int = 1,
    tokens_per_second: float | None = None,
    mfu: float | None = None,
    gpu: str | None = None,
) -> dict[str, Any]:
    """What `lmeff plan SWEEP.yaml --json` prints: sums, what is shared, and every case's own plan. Raises InputError like
    `make_plan`, and for what a learning method reads and that does not fit.

    Disk is that of all cases at the same time. `data_bytes` is null where the text of a case is not known, and is then not in
    `disk_bytes`. `flops_teachers`, `flops_scoring` and `teacher_cache_bytes` are there where a case has them, as in its own
    plan; what cases keep of the same teachers is in one place, and is counted once, but for the hours by `mfu`.
    """
    costs = [_costs_of(case) for case in sweep.cases]
    plans = [
        make_plan(case.recipe, world_size=world_size, tokens_per_second=tokens_per_second, mfu=mfu, gpu=gpu, costs=one)
        for case, one in zip(sweep.cases, costs, strict=True)
    ]
    teachers = all_costs(_by_cache([case.recipe for case in sweep.cases], costs).values())
    beside = {
        "flops_teachers": teachers.flops_teachers,
        "flops_scoring": all_costs(costs).flops_scoring,
        "teacher_cache_bytes": teachers.teacher_cache_bytes,
    }
    texts, tokens = _shared([case.recipe for case in sweep.cases])
    known = [size for size in texts.values() if size is not None]
    data_bytes = None
    if len(known) == len(texts):
        data_bytes = sum(map(prepared_text_bytes, known)) + sum(
            prepared_token_bytes(texts[text] or 0, recipe.tokenizer.vocab_size) for (text, _), recipe in tokens.items()
        )
    hours = [plan.hours for plan in plans if plan.hours is not None]
    return {
        "format": 1,
        "sweep": sweep.name,
        "num_cases": len(plans),
        "seeds": sweep.seeds,
        "total_flops": sum(plan.total_flops for plan in plans),
        **plan_rungs(sweep, plans),
        **{name: value for name, value in beside.items() if value is not None},
        "trained_tokens": sum(plan.trained_tokens for plan in plans),
        "disk_bytes": sum(map(_own_bytes, plans)) + (data_bytes or 0) + (teachers.teacher_cache_bytes or 0),
        "data_bytes": data_bytes,
        "hub_bytes": sum(plan.hub_bytes for plan in plans),
        "hours": sum(hours) if len(hours) == len(plans) else None,
        "notes": list(dict.fromkeys([*all_costs(costs).notes, *_same_models(sweep)])),
        "shared": {"num_texts": len(texts), "num_tokenizers": len(tokens), "texts": _named(texts, sweep)},
        "cases": [
            {
                "index": case.index,
                "name": case.name,
                "folder": str(case.run),
                "plan": plan.model_dump(mode="json", exclude=plan.left_out()),
            }
            for case, plan in zip(sweep.cases, plans, strict=True)
        ],
    }


def format_sweep_plan(sweep: Sweep, plan: dict[str, Any]) -> str:
    """What `lmeff plan SWEEP.yaml` prints."""
    plans = [PlanDocument.model_validate(case["plan"]) for case in plan["cases"]]
    num_seeds, shared = len(sweep.seeds), plan["shared"]
    each = f"{len(plans) // num_seeds} x {num_seeds} seeds" if num_seeds > 1 else f"seed {sweep.seeds[0]}"
    disk, hub = format_bytes(plan["disk_bytes"]), format_bytes(plan["hub_bytes"])
    data = "; text and tokens not counted" if plan["data_bytes"] is None else ""
    data = data or f", {format_bytes(plan['data_bytes'])} of it text and tokens (estimated)"
    hours = plan["hours"]
    lines = [
        f"{sweep.name}: {len(plans)} cases, {each}",
        f"compute    {format_short(plan['total_flops'])} FLOPs in all, {format_tokens(plan['trained_tokens'])} tokens",
        *format_rungs(plan),
        *(
            f"{title:10} {format_short(plan[key])} FLOPs beside that"
            for title, key in (("teachers", "flops_teachers"), ("scoring", "flops_scoring"))
            if key in plan
        ),
        *(f"{'':10} {note}" for note in plan["notes"]),
        *(
            [f"cache      {format_bytes(cache)} of what the teachers say (estimated), a part of the disk"]
            if (cache := plan.get("teacher_cache_bytes"))
            else []
        ),
        f"disk       {disk} of revisions and checkpoints at the most{data}; {hub} on the Hub",
        f"shared     {_plural(shared['num_texts'], 'text')} ({', '.join(shared['texts'])}) and"
        f" {_plural(shared['num_tokenizers'], 'tokenizer')} with tokens, each prepared once",
        f"time       {format_duration(hours * 3600)} one after the other"
        if hours is not None
        else "time       give --tokens-per-second N, or --gpu NAME --mfu 0.4",
        "",
    ]
    rows = [["case", "", "seed", "parameters", "steps", "tokens", "FLOPs", "disk", *(["time"] if hours else [])]]
    for case, one in zip(sweep.cases, plans, strict=True):
        cells = [str(case.index), case.name, str(case.seed), format_tokens(one.parameters.total), f"{one.num_steps:,}"]
        cells += [format_tokens(one.trained_tokens), format_short(one.total_flops), format_bytes(_own_bytes(one))]
        rows.append(cells + ([format_duration((one.hours or 0) * 3600)] if hours else []))
    return "\n".join([*lines, *table_lines(rows, "><>", "  ")])


def recipes_by_tokens(sweep: Sweep) -> list[Recipe]:
    """One recipe for everything that is to be prepared: each text with each of its tokenizers, and each of their packings."""
    found: dict[tuple[str, str, int | None], Recipe] = {}
    for case in sweep.cases:
        [(text, tokenizer)] = _shared([case.recipe])[1]
        batch = case.recipe.batch
        found.setdefault((text, tokenizer, batch.sequence_length if batch.packing == "best_fit" else None), case.recipe)
    return list(found.values())


def _same_models(sweep: Sweep) -> Iterator[str]:
    """Cases that ask for different shares or factors, and are the same model: of few parameters there are few shapes."""
    names: dict[str, list[str]] = defaultdict(list)
    for case in sweep.cases:
        if case.recipe.model.budget is not None and case.seed == sweep.cases[0].seed:
            recipe = with_solved_budget(case.resolved).recipe
            trained = recipe.model_dump_json(
                exclude={"name": True, "paths": True, "publish": True, "model": {"budget"}}
            )
            names[trained].append(case.name)
    for same in names.values():
        if len(same) > 1:
            yield f"{', '.join(same)} are one model: their budgets lead to the same shape"


def _costs_of(case: Case) -> MethodCosts:
    with case.resolved.naming_lines():
        return method_costs(case.recipe)


def _by_cache(recipes: Sequence[Recipe], costs: Sequence[MethodCosts]) -> dict[str, MethodCosts]:
    """The costs of every case whose teachers are asked in each step and, of those that keep what the teachers say, one for each
    place where it is kept."""
    found = {}
    for index, (recipe, one) in enumerate(zip(recipes, costs, strict=True)):
        key = str(index)
        if one.teacher_cache_bytes is not None:
            [(text, tokenizer)] = _shared([recipe])[1]
            asked = recipe.distillation.model_dump_json(exclude={"alpha", "reduction"})
            cut = recipe.batch.model_dump_json(exclude={"tokens", "micro", "log_samples"})
            key = f"{text} {tokenizer} {asked} {cut}"
        found[key] = one
    return found


def _own_bytes(plan: PlanDocument) -> int:
    """Of a case's disk, what no other case shares."""
    return plan.disk_bytes - (plan.data_bytes or 0) - (plan.teacher_cache_bytes or 0)


def _shared(recipes: Sequence[Recipe]) -> tuple[dict[str, int | None], dict[tuple[str, str], Recipe]]:
    """The different texts with their bytes, and for every text and tokenizer one recipe that has it."""
    texts: dict[str, int | None] = {}
    tokens: dict[tuple[str, str], Recipe] = {}
    for recipe in recipes:
        # How often a text may be read changes nothing of what is prepared.
        text = recipe.corpus.model_dump_json(exclude={"epochs"}) + recipe.paths.data
        texts[text] = text_bytes(recipe.corpus)
        tokens.setdefault((text, recipe.tokenizer.model_dump_json()), recipe)
    return texts, tokens


def _named(texts: dict[str, int | None], sweep: Sweep) -> list[str]:
    names = {_shared([case.recipe])[0].popitem()[0]: case.recipe.corpus for case in sweep.cases}
    return [f"{names[text].name} {names[text].track or ''}".strip() for text in texts]


def _plural(number: int, word: str) -> str:
    return f"{number} {word}{'s' if number != 1 else ''}"
