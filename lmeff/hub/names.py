"""Where the revisions of a run go on the Hub: its repository, and a branch for each."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lmeff.errors import InputError
from lmeff.formats.plan import PlanDocument
from lmeff.quantities import format_count, format_short
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.curriculum import Curriculum
from lmeff.recipe.sections.distillation import Distillation
from lmeff.recipe.sections.fields import Section
from lmeff.recipe.sections.model.section import DEFAULT_FAMILY
from lmeff.recipe.sections.publish import DEFAULT_REPOSITORY
from lmeff.revisions.revision import Revision

MAIN = "main"
"""The branch of the card and the index."""
INDEX = "revisions.json"
"""On `main` of a repository of ours, which holds no model of its own."""
_LONGEST = 96
"""Letters of a repository's name with its namespace, for the Hub."""
_LONGEST_WORDS = 32
"""Letters that a default name has for what a learning method is set to."""


@dataclass(frozen=True)
class HubNames:
    repository: str
    """`NAMESPACE/NAME`."""
    anchor_template: str
    """`publish.anchor_branch`."""
    final_template: str
    """`publish.final_branch`."""
    fields: Mapping[str, object]
    """What every template may name."""

    def branch(self, revision: Revision) -> str:
        """Also of an anchor that the plan does not name any more."""
        if revision.tokens is None:
            return self.final_template.format(**self.fields, seed=revision.seed)
        return self.anchor_template.format(**self.fields, seed=revision.seed, tokens=format_count(revision.tokens))


def hub_names(
    recipe: Recipe, plan: PlanDocument, namespace: str | None, ways: str = "in the recipe or as HF_NAMESPACE"
) -> HubNames:
    """Where a run's revisions go, from the recipe's templates; `namespace` is for recipes that give none, and `ways` says where
    a user can give one.

    Raises InputError for names that the Hub or git would not take, and for two revisions on one branch.
    """
    publish = recipe.publish
    namespace = publish.namespace or namespace
    fields = {
        "name": recipe.name,
        "corpus": recipe.corpus.name,
        "size": recipe.model.size or format_short(plan.parameters.total),
        "vocab_size": recipe.tokenizer.vocab_size,
        "family": recipe.model.architecture,
        "objective": recipe.objective_name,
    }
    spellings = (repository_template(recipe), repository_template(recipe, is_short=True))
    repositories = [f"{namespace or 'you'}/{one.format(**fields, seed=recipe.seed)}" for one in spellings]
    repository = next((one for one in repositories if len(one) <= _LONGEST), repositories[-1])
    names = HubNames(repository, publish.anchor_branch, publish.final_branch, fields)
    mistakes = []
    if namespace is None:
        mistakes.append(f"publish.namespace: missing; the user or organization on the Hub, {ways}")
    elif not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", namespace) or ".." in namespace:
        mistakes.append(f"publish.namespace: {namespace!r} is no user or organization")
    if wrong := _wrong_repository(repository):
        mistakes.append(f"publish.repository: {repository!r} {wrong}")
    anchors = [Revision(recipe.seed, anchor.nominal_tokens) for anchor in plan.anchors]
    mistakes += _branch_mistakes(names, [Revision(recipe.seed), *anchors])
    if mistakes:
        raise InputError(*dict.fromkeys(mistakes))
    return names


def repository_template(recipe: Recipe, is_short: bool = False) -> str:
    """`publish.repository` or, of a recipe that gives none, the default with what its models need to be told apart by; of that
    a short one, for names that would be too long, has a hash of what the objective is set to."""
    template = recipe.publish.repository
    return template + (_variant(recipe, is_short) if template == DEFAULT_REPOSITORY else "")


def _variant(recipe: Recipe, is_short: bool) -> str:
    """What a default name needs at its end, so that models of another family, objective or learning method do not share a
    repository with the causal Llama of the same corpus, size and vocabulary; nor those of other masks with each other."""
    is_own = recipe.objective_name == recipe.model.objectives[0]
    family = "" if recipe.model.family == DEFAULT_FAMILY else "-{family}"
    changed = recipe.objective.changed(recipe.objective_name).items()
    words = [key if value is True else f"{key}{value:g}" for key, value in sorted(changed)]
    if words and is_short:
        words = [_hash("-".join(words))]
    settings = "".join(f"-{word}" for word in words)
    methods = ["distillation", _words_of_distillation(recipe.distillation)] if recipe.distillation.is_used else []
    if recipe.curriculum.protocol:
        methods += ["curriculum", recipe.curriculum.strategy, _words_of_curriculum(recipe.curriculum)]
    return family + ("" if is_own else "-{objective}") + settings + "".join(f"-{word}" for word in methods if word)


def _words_of_distillation(distillation: Distillation) -> str:
    """What is set, but for who the teachers are."""
    cache = distillation.cache
    kept = [f"{cache.kind}{cache.k or ''}"] if cache.kind else []
    return _short([*_changed(distillation, "teachers", "cache"), *kept])


def _words_of_curriculum(curriculum: Curriculum) -> str:
    """What is set, but for what its strategy says."""
    return _short([*_changed(curriculum, "protocol", "order", "reference", "faults"), *sorted(curriculum.faults)])


def _changed(section: Section, *left_out: str) -> list[str]:
    """The fields that have another value than their default, a word each: that of a choice alone says enough."""
    words = []
    for name, field in sorted(type(section).model_fields.items()):
        value = getattr(section, name)
        if name in left_out or value == field.default or value is False:
            continue
        number = f"{value:g}".replace("+", "") if isinstance(value, float) else str(value)
        words.append(name if value is True else value if isinstance(value, str) else f"{name}{number}")
    return words


def _short(words: Sequence[str]) -> str:
    """The words of a name or, as names of the Hub are short, a hash of many of them."""
    text = "-".join(words)
    return text if len(text) <= _LONGEST_WORDS else _hash(text)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _branch_mistakes(names: HubNames, revisions: Sequence[Revision]) -> list[str]:
    mistakes, taken = [], dict[str, Revision]()
    for revision in revisions:
        branch = names.branch(revision)
        key = "publish.final_branch" if revision.is_final else "publish.anchor_branch"
        if wrong := _wrong_branch(branch):
            mistakes.append(f"{key}: {branch!r} {wrong}")
        # Git keeps a branch as a file, so one cannot be the folder of another.
        clash = next((other for other in taken if other == branch or _inside(other, branch)), None)
        if clash is not None:
            mistakes.append(f"{key}: {revision} and {taken[clash]} would share the branch {clash!r}")
        taken[branch] = revision
    return mistakes


def _inside(one: str, other: str) -> bool:
    return one.startswith(f"{other}/") or other.startswith(f"{one}/")


def _wrong_repository(repository: str) -> str | None:
    name = repository.partition("/")[2]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or name[-1] in ".-" or "--" in name or ".." in name:
        return "is no name for a repository: letters, digits, '.', '_' and single '-', not at either end"
    if name.endswith((".git", ".ipynb")):
        return "is no name for a repository: it ends in .git or .ipynb"
    if len(repository) > _LONGEST:
        return (
            f"has {len(repository)} characters, and the Hub takes {_LONGEST}; give 'publish.repository' a shorter one"
        )
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
