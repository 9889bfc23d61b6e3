"""`publish:` whether revisions go to the Hub, and by which names."""

from string import Formatter
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator

from lmeff.recipe.sections.fields import Name, OnResume, Section

_RUN_FIELDS = {"name", "corpus", "family", "objective", "size", "vocab_size", "seed"}
DEFAULT_REPOSITORY = "{corpus}-{size}-tok{vocab_size}"


def _check_template(template: str, allowed: set[str]) -> str:
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"{template!r}: {error}") from None
    for _, field, form, conversion in parts:
        if field is not None and (field not in allowed or form or conversion):
            raise ValueError(f"{{{field}}} is none of {', '.join(f'{{{name}}}' for name in sorted(allowed))}")
    return template


class Publish(Section):
    on_resume: ClassVar[OnResume] = OnResume.FREE

    to: Literal["local", "hub"] = "local"
    """`local`: revisions stay in the run folder, and `lmeff publish` can send them later. `hub`: each is delivered to the Hub
    as a branch while training goes on, in a process of its own."""
    namespace: Name | None = None
    """User or organization. Default: HF_NAMESPACE, from the environment or from `.env` in the working directory."""
    private: bool = True
    """Whether a repository that has to be made is private."""
    repository: Annotated[str, AfterValidator(lambda text: _check_template(text, _RUN_FIELDS))] = DEFAULT_REPOSITORY
    """Repository's name; may hold {name}, {corpus}, {family}, {objective}, {size} (or the parameter count), {vocab_size} and
    {seed}. To the default, a family other than Llama adds its name, and so do an objective that is not the family's own and a
    learning method, with what is set otherwise in it (a hash of it where that is long, and of the objective's keys
    where the whole name would be too long for the Hub)."""
    anchor_branch: Annotated[str, AfterValidator(lambda text: _check_template(text, {*_RUN_FIELDS, "tokens"}))] = (
        "seed-{seed}-tokens-{tokens}"
    )
    """Branch of an anchor; may also hold {tokens}, such as 25M."""
    final_branch: Annotated[str, AfterValidator(lambda text: _check_template(text, _RUN_FIELDS))] = "seed-{seed}"
    """Branch of the final model."""
    final_on_main: bool = False
    """Put the final weights on `main` too, which else holds the card and an index alone."""
    require: bool = False
    """End the run with an error (exit code 1) when a revision could not be delivered."""
    license: str | None = None
    """License of the weights for the model card, as the Hub names it, such as `mit` or `cc-by-4.0`."""
    optimizer: bool = False
    """Keep the optimizer's state in every revision (`optimizer.safetensors`), twice the size of the weights."""
