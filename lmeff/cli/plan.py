"""`lmeff plan`: what a recipe will do and cost."""

import argparse

from lmeff.cli.argument_types import positive, positive_int
from lmeff.cli.recipe_options import add_recipe
from lmeff.errors import InputError
from lmeff.logs import note

SUMMARY = "what a recipe or a sweep will do and cost, in steps, parameters, FLOPs, memory, disk and hours"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    add_recipe(parser)
    parser.add_argument("--json", action="store_true", help="print plan.json")
    parser.add_argument(
        "--devices", type=positive_int, default=1, metavar="N", help="devices that share the batch (default 1)"
    )
    parser.add_argument("--tokens-per-second", type=positive, metavar="N", help="speed of all devices together")
    parser.add_argument(
        "--mfu", type=positive, metavar="SHARE", help="or the share of the GPU's 16-bit peak, such as 0.4"
    )
    parser.add_argument("--gpu", metavar="NAME", help="h100, a100, rtx4090 ...: plan for it, not for this machine")
    text = "try a few steps of the model on this machine, which needs torch, and estimate the hours from them"
    parser.add_argument("--measure", action="store_true", help=text)


def run(options: argparse.Namespace) -> None:
    from lmeff.cli.input_checks import check_recipe_tasks, check_text_of, note_missing
    from lmeff.methods import method_costs
    from lmeff.models.families import check_family
    from lmeff.plan import make_plan
    from lmeff.plan.gpus import find_gpu
    from lmeff.plan.text import format_plan
    from lmeff.recipe import read_recipe
    from lmeff.recipe.machine import check_machine
    from lmeff.sweeps.reading import is_sweep

    if is_sweep(options.recipe, options.overrides):
        _plan_sweep(options)
        return
    resolved = read_recipe(options.recipe, options.overrides)
    recipe, speed, speed_from = resolved.recipe, options.tokens_per_second, ""
    check_family(resolved)
    # Before anything is measured, so that a mistake is told at once.
    with resolved.naming_lines():
        costs = method_costs(recipe)
        plan = make_plan(
            recipe, world_size=options.devices, tokens_per_second=speed, mfu=options.mfu, gpu=options.gpu, costs=costs
        )
    if options.mfu and (costs.flops_teachers or costs.flops_scoring):
        speed_from = "with what is computed beside training"
    check_machine(resolved, find_gpu(options.gpu).capability if options.gpu else None)
    check_text_of(resolved)
    check_recipe_tasks(resolved)
    note_missing([resolved])
    if options.measure:
        if speed or options.mfu or options.gpu:
            raise InputError("--measure: measures this machine; leave out --tokens-per-second, --mfu and --gpu")
        from lmeff.probes.speed import measure_speed

        note("trying a few steps of the model, half a minute at the most ...")
        measured = measure_speed(recipe, options.devices)
        speed, speed_from = measured.tokens_per_second, measured.describe()
        plan = make_plan(
            recipe,
            world_size=options.devices,
            micro_batch=measured.micro_batch,
            tokens_per_second=speed,
            costs=costs,
        )
    if options.json:
        print(plan.model_dump_json(indent=2, exclude=plan.left_out()))
    else:
        print(format_plan(plan, speed_from, options.gpu, costs.notes))


def _plan_sweep(options: argparse.Namespace) -> None:
    import json

    from lmeff.cli.input_checks import check_recipe_tasks, check_text_of, note_missing
    from lmeff.plan.gpus import find_gpu
    from lmeff.recipe.machine import check_machine
    from lmeff.sweeps.cases import read_sweep
    from lmeff.sweeps.plan import format_sweep_plan, plan_sweep

    if options.measure:
        raise InputError(
            "--measure: measures one recipe; of a sweep try one case, with lmeff sweep show SWEEP N > case.yaml"
        )
    sweep = read_sweep(options.recipe, options.overrides)
    mistakes: list[str] = []
    for case in sweep.cases:
        try:
            check_machine(case.resolved, find_gpu(options.gpu).capability if options.gpu else None)
            check_text_of(case.resolved)
            check_recipe_tasks(case.resolved)
        except InputError as error:
            mistakes += error.mistakes
    if mistakes:
        raise InputError(*dict.fromkeys(mistakes))
    note_missing([case.resolved for case in sweep.cases])
    plan = plan_sweep(
        sweep, world_size=options.devices, tokens_per_second=options.tokens_per_second, mfu=options.mfu, gpu=options.gpu
    )
    print(json.dumps(plan, indent=2, ensure_ascii=False) if options.json else format_sweep_plan(sweep, plan))
