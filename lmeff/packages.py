"""Packages that come with an extra (`pip install 'lmeff[clean]'`): whoever needs one says so before anything is prepared."""

from importlib.util import find_spec

from lmeff.errors import InputError

EXTRA_OF = {
    "datasketch": "clean",
    "py3langid": "clean",
    "sklearn": "finetune",
    "tensorboard": "track",
    "trackio": "track",
}
"""The extra of setup.cfg that brings a module."""


def how_to_install(module: str, package: str | None = None) -> str:
    """`pip install ...`, with the extra that brings the module, else with the package's own name."""
    extra = EXTRA_OF.get(module)
    return f"pip install 'lmeff[{extra}]'" if extra else f"pip install {package or module}"


def check_package(module: str, what: str) -> None:
    """Raises InputError when `what` needs a module that is not installed."""
    if find_spec(module) is None:
        raise InputError(f"{what} needs a package that is not installed: {how_to_install(module)}")
