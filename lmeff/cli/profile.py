"""`lmeff profile`: what models cost."""

import argparse
from dataclasses import replace

from lmeff.cli.argument_types import path, positive, positive_int, positive_ints
from lmeff.cli.help import options_anywhere
from lmeff.cli.model_options import as_rows, print_results, read_selection, say
from lmeff.logs import note

SUMMARY = "what models cost: latency, throughput, generation speed, peak memory, parameters, FLOPs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument(
        "what", type=path, nargs="+", metavar="WHAT", help="run folders, model folders, or NAMESPACE/REPO[@REVISION]"
    )
    parser.add_argument(
        "--lengths", type=positive_ints, default=[128, 512], metavar="N,...", help="of latency (128,512)"
    )
    text = "of throughput and memory (1,2,4,8,16,32)"
    parser.add_argument("--batch-sizes", type=positive_ints, default=[1, 2, 4, 8, 16, 32], metavar="N,...", help=text)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: the GPU where there is one")
    parser.add_argument("--repeats", type=positive_int, default=100, metavar="N", help="timed passes of a row (100)")
    text = "a row ends after so long, even with fewer passes (10)"
    parser.add_argument("--seconds", type=positive, default=10.0, metavar="S", help=text)
    parser.add_argument(
        "--revisions", metavar="all|NAME,...", help="of a run (default: the newest; all of them cost the same)"
    )
    parser.add_argument(
        "--output", type=path, metavar="DIR", help="where profiles go (default: RUN/results or outputs/eval/NAME)"
    )
    parser.add_argument("--json", action="store_true")
    options_anywhere(parser)


def run(options: argparse.Namespace) -> None:
    from lmeff.cli.input_checks import check_device, check_models

    check_device(options.device)
    selection = read_selection(options)
    check_models(replace(selection, output=None))
    from lmeff.measures.measure import measured
    from lmeff.measures.profile.measure import Profile, models_to_profile
    from lmeff.measures.profile.profile import ProfileSettings
    from lmeff.measures.profile.table import profile_table

    settings = ProfileSettings(
        lengths=tuple(options.lengths),
        batch_sizes=tuple(options.batch_sizes),
        precision=options.precision,
        device=options.device,
        repeats=options.repeats,
        seconds=options.seconds,
    )
    names = models_to_profile(selection)
    profile = Profile(settings, names.__getitem__, note)
    print_results(options, measured(profile, list(names), say), as_rows, profile_table)
