"""`lmeff tasks`: where our lm-eval tasks are."""

import argparse

SUMMARY = "the folder of lm-eval tasks, for --include_path"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("--list", action="store_true", help="print the names of the tasks instead")


def run(options: argparse.Namespace) -> None:
    from lmeff.evaluation.tasks.names import own_task_names, tasks_folder

    print("\n".join(own_task_names()) if options.list else tasks_folder())
