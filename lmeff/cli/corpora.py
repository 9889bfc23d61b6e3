"""`lmeff corpora`: the corpora known by name."""

import argparse

from lmeff.cli.argument_types import path, positive_int
from lmeff.errors import InputError

SUMMARY = "the corpora known by name"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("show", nargs="?", choices=["show"], help="show one of them")
    parser.add_argument("name", nargs="?", metavar="NAME")
    parser.add_argument(
        "--sample", action="store_true", help="what cleaning changes in the first documents of each file"
    )
    parser.add_argument(
        "--paths", type=path, nargs="+", metavar="PATH", help="its text, where the corpus does not come with any"
    )
    parser.add_argument("--documents", type=positive_int, default=1000, metavar="N", help="of each file (1000)")


def run(options: argparse.Namespace) -> None:
    from lmeff.corpora import named_corpora

    corpora = named_corpora()
    if options.name is None:
        for name, description in corpora.items():
            print(f"{name:15} {description['title']}")
        print("\n`lmeff corpora show NAME` says more; a recipe takes one with corpus.name=NAME")
    elif options.sample:
        from lmeff.corpora.sample import show_sample
        from lmeff.recipe.sections.corpus import Corpus

        settings = {"paths": options.paths} if options.paths else {}
        for line in show_sample(Corpus(name=options.name, **settings), options.documents):
            print(line)
    elif options.name in corpora:
        import yaml

        print(yaml.safe_dump(corpora[options.name], sort_keys=False, allow_unicode=True, width=120), end="")
    else:
        from lmeff.recipe.wording import did_you_mean

        near = did_you_mean(options.name, corpora)
        raise InputError(f"no corpus {options.name!r}{near or '; there are ' + ', '.join(corpora)}")
