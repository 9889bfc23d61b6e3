"""Packages that are not installed: those of an extra (`pip install 'lmeff[clean]'`), of which whoever needs one says so before
anything is prepared, and those that lmeff cannot do without."""

import sys
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
_PACKAGES = {"dotenv": "python-dotenv", "vl_convert": "vl-convert-python", "yaml": "pyyaml"}
"""Packages of modules that have another name."""


def package_of(module: str) -> str:
    """What pip calls the package of a module."""
    return _PACKAGES.get(module, module.replace("_", "-"))


def how_to_install(module: str, package: str | None = None) -> str:
    """`pip install ...`, with the extra that brings the module, else with the package's own name."""
    extra = EXTRA_OF.get(module)
    return f"pip install 'lmeff[{extra}]'" if extra else f"pip install {package or module}"


def check_package(module: str, what: str) -> None:
    """Raises InputError when `what` needs a module that is not installed."""
    if find_spec(module) is None:
        raise InputError(f"{what} needs a package that is not installed: {how_to_install(module)}")


def missing_package(error: BaseException) -> str | None:
    """What to say of an import that failed because a package is not installed; None of anything else."""
    module = (getattr(error, "name", None) or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    # A module that a package does not have, for all that it is installed, is a mistake in the code.
    if not module or module in sys.stdlib_module_names or find_spec(module) is not None:
        return None
    package = package_of(module)
    how = how_to_install(module, package)
    return f"this installation of lmeff lacks the package {package}: {how} (`lmeff doctor` lists all that is missing)"
