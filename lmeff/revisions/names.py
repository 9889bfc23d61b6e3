"""What revisions are called, on disk and as branches of the Hub."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from lmeff.errors import InputError
from lmeff.formats.plan import PlanDocument
from lmeff.quantities import format_count, format_short
from lmeff.recipe.schema import Recipe

MAIN = "main"


def final_name(seed: int) -> str:
    """The finished model: `seed-0`."""
    return f"seed-{seed}"


def anchor_name(seed: int, nominal_tokens: int) -> str:
    """The model at an anchor: `seed-0-tokens-25M`."""
    return f"{final_name(seed)}-tokens-{format_count(nominal_tokens)}"


@dataclass(frozen=True)
class HubNames:
    repository: str
    """`NAMESPACE/NAME`."""
    branches: dict[str, str]
    """Revision -> branch."""
    anchor_branch: Callable[[str], str]
    """Tokens, such as 25M -> branch."""
    seed: int

    def branch(self, revision: str) -> str:
        """Also of an anchor that the plan does not name any more."""
        tokens = revision.removeprefix(f"{final_name(self.seed)}-tokens-")
        return self.branches[revision] if revision in self.branches else self.anchor_branch(tokens)


def hub_names(
    recipe: Recipe, plan: PlanDocument, namespace: str | None, ways: str = "here or as HF_NAMESPACE"
) -> HubNames:
    """Where a run's revisions go, from the recipe's templates; `namespace` is for recipes that give none, and `ways` says where
    a user can give one.

    Raises InputError for names that the Hub or git would not take, and for two revisions on one branch.
    """
    publish, seed = recipe.publish, recipe.seed
    namespace = publish.namespace or namespace
    fields = {
        "name": recipe.name,
        "corpus": recipe.corpus.name,
        "size": recipe.model.size or format_short(plan.parameters.total),
        "vocab_size": recipe.tokenizer.vocab_size,
        "seed": seed,
    }
    mistakes = []
    if namespace is None:
        mistakes.append(f"publish.namespace: missing; the user or organization on the Hub, {ways}")
    elif not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", namespace) or ".." in namespace:
        mistakes.append(f"publish.namespace: {namespace!r} is no user or organization")
    repository = f"{namespace or 'you'}/{publish.repository.format(**fields)}"
    if wrong := _wrong_repository(repository):
        mistakes.append(f"publish.repository: {repository!r} {wrong}")
    branches = {final_name(seed): publish.final_branch.format(**fields)}
    for anchor in plan.anchors:
        tokens = format_count(anchor.nominal_tokens)
        branches[anchor_name(seed, anchor.nominal_tokens)] = publish.anchor_branch.format(**fields, tokens=tokens)
    taken: dict[str, str] = {}
    for revision, branch in branches.items():
        key = "publish.final_branch" if revision == final_name(seed) else "publish.anchor_branch"
        if wrong := _wrong_branch(branch):
            mistakes.append(f"{key}: {branch!r} {wrong}")
        # Git keeps a branch as a file, so one cannot be the folder of another.
        clash = next((other for other in taken if other == branch or _inside(other, branch)), None)
        if clash is not None:
            mistakes.append(f"{key}: {revision} and {taken[clash]} would share the branch {clash!r}")
        taken[branch] = revision
    if mistakes:
        raise InputError(*dict.fromkeys(mistakes))
    return HubNames(repository, branches, lambda tokens: publish.anchor_branch.format(**fields, tokens=tokens), seed)


def _inside(one: str, other: str) -> bool:
    return one.startswith(f"{other}/") or other.startswith(f"{one}/")


def _wrong_repository(repository: str) -> str | None:
    name = repository.partition("/")[2]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or name[-1] in ".-" or "--" in name or ".." in name:
        return "is no name for a repository: letters, digits, '.', '_' and single '-', not at either end"
    if name.endswith((".git", ".ipynb")) or len(repository) > 96:
        return "is no name for a repository: it ends in .git or .ipynb, or is longer than 96 characters"
    return None


def _wrong_branch(branch: str) -> str | None:
    if branch == MAIN:
        return "is the branch of the card and the index"
    parts = branch.split("/")
    legal = all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", part) for part in parts)
    if not legal or ".." in branch or any(part.endswith((".lock", ".")) for part in parts) or parts[0] == "refs":
        return "is no name for a branch: letters, digits, '.', '_', '-' and '/', each part beginning with a letter or digit"
    if len(branch) > 200:
        return "is longer than 200 characters"
    if re.fullmatch(r"[0-9a-f]{7,40}", branch):
        return "could be taken for a commit"
    return None
