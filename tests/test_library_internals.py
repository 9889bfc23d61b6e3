"""Other packages' private names: each exists in the installed versions, and only one module uses them.

Two scans find uses: one reads every module for attributes with an underscore that nobody in lmeff defines; the other asks
classes with bases of other packages, since an attribute of `self` does not say whose it is.
"""

import ast
import importlib
import inspect
import textwrap
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any

import pytest
from house import MODULES

from lmeff.library_internals import IN_SUBCLASSES, NAMES

OURS = "lmeff.library_internals"
PROMISED = {"_replace", "_asdict", "_fields", "_exit"}
"""Documented all the same: of named tuples, and of `os`."""


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def bound_names(tree: ast.AST) -> set[str]:
    """What a module defines itself: functions, variables, fields and attributes of `self`."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_own(node.value):
            names.add(node.attr)
    return names


def is_own(node: ast.expr) -> bool:
    """`self`, `cls` or `super()`: its class decides, which `foreign_names_used` looks at."""
    called = node.func if isinstance(node, ast.Call) else node
    return isinstance(called, ast.Name) and called.id in ("self", "cls", "super")


def private_uses(tree: ast.AST, bound_elsewhere: set[str] = frozenset()) -> Iterator[tuple[int, str]]:
    """Lines with a private name that the module, for `self` also another module of lmeff, does not define."""
    bound = bound_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in PROMISED:
            if node.attr not in (bound | bound_elsewhere if is_own(node.value) else bound):
                yield node.lineno, node.attr
        elif isinstance(node, ast.Import | ast.ImportFrom):
            source = getattr(node, "module", None) or ""
            names = [part for alias in node.names for part in alias.name.split(".")] + source.split(".")
            if not source.startswith("lmeff"):
                yield from ((node.lineno, name) for name in names if is_private(name))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "setattr", "hasattr", "delattr"):
            named = [str(one.value) for one in node.args[1:2] if isinstance(one, ast.Constant)]
            yield from ((node.lineno, name) for name in named if is_private(name))


def replaced_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Lines where something is put in the place of a name of another package's module."""
    modules = {
        alias.asname or alias.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        or (isinstance(node, ast.ImportFrom) and not (node.module or "lmeff").startswith("lmeff"))
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            owner: ast.expr = node
            while isinstance(owner, ast.Attribute):
                owner = owner.value
            if isinstance(owner, ast.Name) and owner.id in modules and ast.unparse(node) != "sys.argv":
                yield node.lineno, ast.unparse(node)


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("trainer._tr_loss.fill_(0)", ["_tr_loss"]),
        ("self._tr_loss.fill_(0)", ["_tr_loss"]),
        ("super()._save()", ["_save"]),
        ("self._mine = 1\nself._mine", []),
        ("other._order", ["_order"]),
        ("def _order(self): ...\nother._order", []),
        ("from torch._dynamo.exc import TorchDynamoException", ["_dynamo"]),
        ("import torch._inductor.config", ["_inductor"]),
        ("from torch import _C", ["_C"]),
        ("from lmeff.files import _aside", []),
        ("getattr(model, '_orig_mod', model)", ["_orig_mod"]),
        ("panel._replace(x=1)\nos._exit(1)\nmodel.__class__", []),
    ],
)
def test_private_names_are_recognized(code, found):
    assert [name for _, name in private_uses(ast.parse(code))] == found


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("from lm_eval.api import task\ntask.tqdm = None", ["task.tqdm"]),
        ("import lm_eval.api.task\nlm_eval.api.task.tqdm = None", ["lm_eval.api.task.tqdm"]),
        ("import sys\nsys.argv = []", []),
        ("model.config = None", []),
    ],
)
def test_replaced_names_are_recognized(code, found):
    assert [name for _, name in replaced_names(ast.parse(code))] == found


@cache
def trees() -> dict[str, ast.AST]:
    return {module: ast.parse(path.read_text(encoding="utf-8")) for module, path in MODULES.items()}


@pytest.mark.medium
def test_one_module_uses_private_names_of_others():
    bound = set().union(*map(bound_names, trees().values())) | {
        name for names in IN_SUBCLASSES.values() for name in names
    }
    wrong = [
        f"{module}:{line}: {name}: give it a function in {OURS}"
        for module, tree in trees().items()
        if module != OURS
        for line, name in [*private_uses(tree, bound), *replaced_names(tree)]
    ]
    assert not wrong, "\n".join(wrong)


def test_the_module_lists_every_name_that_it_uses():
    tree = trees()[OURS]
    used = {name for _, name in private_uses(tree)} | {name.rpartition(".")[2] for _, name in replaced_names(tree)}
    listed = {name for names in NAMES.values() for name in names}
    assert used <= listed, f"add to NAMES: {used - listed}"
    assert {name for name in listed if is_private(name)} <= used, "NAMES has what is not used any more"


def resolved(path: str) -> Any:
    """A module, or what is in one, by its dotted name."""
    parts = path.split(".")
    for number in range(len(parts), 0, -1):
        try:
            owner: Any = importlib.import_module(".".join(parts[:number]))
        except ModuleNotFoundError:
            continue
        for name in parts[number:]:
            owner = getattr(owner, name)
        return owner
    raise ModuleNotFoundError(path)


@cache
def names_of(owner: Any) -> set[str]:
    """Everything that a class has, and everything that its methods and its bases' put into `self`."""
    names = set(dir(owner))
    for base in inspect.getmro(owner):
        try:
            names |= bound_names(ast.parse(textwrap.dedent(inspect.getsource(base))))
        except (OSError, TypeError):  # of C
            continue
    return names


@pytest.mark.parametrize("owner", [*NAMES, *IN_SUBCLASSES])
def test_every_name_exists(owner):
    found = resolved(owner)
    for name in [*NAMES.get(owner, ()), *IN_SUBCLASSES.get(owner, ())]:
        assert hasattr(found, name) or (inspect.isclass(found) and name in names_of(found)), f"{owner}.{name} is gone"


def foreign_names_used(cls: type) -> set[str]:
    """Private names in a class's own code that a base of another package has too: overridden, called, or taken by accident."""
    bases = [base for base in cls.__mro__ if base.__module__.split(".")[0] not in ("lmeff", "tests", "builtins", "abc")]
    foreign = set().union(*map(names_of, bases)) if bases else set()
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    own = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and is_own(node.value)}
    return {name for name in own | bound_names(tree) if is_private(name) and name in foreign}


def classes_with_foreign_bases(module: ModuleType) -> list[type]:
    return [
        cls
        for cls in vars(module).values()
        if inspect.isclass(cls)
        and cls.__module__ == module.__name__
        and any(base.__module__.split(".")[0] not in STANDARD for base in cls.__mro__)
    ]


STANDARD = {
    "lmeff",
    "builtins",
    "abc",
    "typing",
    "enum",
    "argparse",
    "contextlib",
    "html",
    "logging",
    "string",
    "pydantic",
}
"""Where a class's bases have no private names that would matter, or would be seen at once."""


@pytest.mark.slow
def test_subclasses_use_no_other_private_names():
    modules = [name for name, tree in trees().items() if any(isinstance(node, ast.ClassDef) for node in ast.walk(tree))]
    seen = {
        (cls, name)
        for module in modules
        if not module.endswith("__main__")
        for cls in classes_with_foreign_bases(importlib.import_module(module))
        for name in foreign_names_used(cls)
    }
    owners = {name: resolved(owner) for owner, names in IN_SUBCLASSES.items() for name in names}
    wrong = [
        f"{cls.__module__}.{cls.__name__}: {name}" for cls, name in seen if not issubclass(cls, owners.get(name, ()))
    ]
    assert not wrong, "a base of another package has these names, too: " + "; ".join(sorted(wrong))
    assert {name for _, name in seen} == set(owners), "IN_SUBCLASSES has what is not used any more"


@pytest.mark.parametrize("name", IN_SUBCLASSES["transformers.Trainer"])
def test_overrides_take_what_the_trainer_gives(name):
    from transformers import Trainer

    from lmeff.training.trainer import LmeffTrainer

    theirs, ours = (list(inspect.signature(getattr(cls, name)).parameters) for cls in (Trainer, LmeffTrainer))
    assert ours == theirs
