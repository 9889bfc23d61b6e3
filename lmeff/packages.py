"""Packages that are not installed: those of an extra (`pip install 'lmeff[clean]'`), of which whoever needs one says so before
anything is prepared, and those that lmeff cannot do without."""

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


_NEEDED = frozenset(
    [
        *("accelerate", "altair", "datasets", "deepspeed", "evaluate", "gigatoken", "huggingface-hub", "jinja2"),
        *("lm-eval", "numpy", "orjson", "packaging", "pandas", "pyarrow", "pydantic", "pypdf", "python-dotenv"),
        *("pyyaml", "sacrebleu", "safetensors", "schedulefree", "scipy", "tokenizers", "torch", "tqdm"),
        *("transformers", "vl-convert-python", "xxhash"),
    ]
)
"""Packages that lmeff cannot do without, as in setup.cfg."""


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
    package = package_of(module)
    # Whatever else a user's tasks or models import is theirs; and a module that a package which is there does not have is a
    # mistake in the code.
    if not (package in _NEEDED or module in EXTRA_OF) or find_spec(module) is not None:
        return None
    how = how_to_install(module, package)
    return f"this installation of lmeff lacks the package {package}: {how} (`lmeff doctor` lists all that is missing)"
