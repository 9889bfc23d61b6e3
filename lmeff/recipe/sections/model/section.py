"""What `model:` means in every family of architectures. A recipe's section is that of its family, with the family's fields."""

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BeforeValidator,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    SerializeAsAny,
    WithJsonSchema,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticKnownError

from lmeff.recipe.sections.fields import OnResume, Section
from lmeff.recipe.sections.model.budget import Budget
from lmeff.recipe.sections.objective import ObjectiveName
from lmeff.recipe.wording import join_with_or

FAMILIES: dict[str, type["Model"]] = {}
"""The section of every family, by the family's name. Filled in `lmeff/recipe/sections/model/__init__.py`."""
DEFAULT_FAMILY = "llama"
_NO_SHAPE = ("family", "size", "budget")


def _check_family(name: object) -> object:
    if not isinstance(name, str) or name not in FAMILIES:
        raise PydanticKnownError("literal_error", {"expected": join_with_or(map(repr, FAMILIES))})
    return name


DocumentMask = Literal["positions", "attention_mask"] | None
FamilyName = Annotated[str, BeforeValidator(_check_family), WithJsonSchema({"type": "string"})]


class Model(Section):
    """The fields that every family has, and facts about a family that checks of recipes need."""

    on_resume: ClassVar[OnResume] = OnResume.FIXED

    sizes: ClassVar[Mapping[str, Mapping[str, int | float | bool]]] = {}
    """Fields by named size."""
    shape_fields: ClassVar[tuple[str, ...]] = ()
    """Fields that a recipe must give when it names no size."""
    objectives: ClassVar[tuple[ObjectiveName, ...]] = ("causal",)
    """What the family can be trained for; the first is what it is trained for unless a recipe says it."""
    document_mask: ClassVar[DocumentMask] = None
    """What keeps the documents of a sequence apart (`batch.document_mask`): positions that restart at every document, or an
    attention mask of (rows, 1, length, length). None for a family in which nothing does."""
    gradient_checkpointing: ClassVar[bool] = True
    """Whether transformers can compute activations again in the backward pass."""
    leaves_parameters_unused: ClassVar[bool] = False
    """Whether every step leaves parameters without a gradient, which DDP must then look for. Models of the family `auto` are
    tried for that."""
    liger_kernels: ClassVar[tuple[str, ...]] = ()
    """The kernels that Liger has for the family."""
    feed_forward: ClassVar[str | None] = None
    """The field with the width of the feed-forward network; None for a family without one."""
    usual_factor: ClassVar[float] = 4.0
    """That width as a multiple of `hidden_size`, where a budget does not say it."""

    family: FamilyName = DEFAULT_FAMILY
    """Architecture."""
    size: str | None = None
    """A named size; any field below overrides it."""
    budget: Annotated[Budget | None, OnResume.FREE] = None
    """Find the shape for a number of parameters; fields of it that are given here stay. A run keeps what was found."""

    def contradictions(self) -> Iterator[tuple[str, str]]:
        if self.budget is not None:
            yield from self._budget_contradictions(self.budget)
            return
        missing = [field for field in self.shape_fields if getattr(self, field) is None]
        if self.size is None and missing:
            yield "", f"give a 'size' ({', '.join(self.sizes)}), or also {', '.join(missing)}"

    def _budget_contradictions(self, budget: Budget) -> Iterator[tuple[str, str]]:
        if self.size is not None:
            yield "budget", f"there is also a size ({self.size}); give one of them, and the other as null"
        if budget.glu_factor is not None and self.feed_forward is None:
            yield "budget.glu_factor", f"the family '{self.family}' has no feed-forward network; leave it out"

    def head_choices(self, width: int) -> Iterator[dict[str, int]]:
        """Fields that divide a width among heads, from what a budget would choose first: heads of 32 to 128 numbers (from 16 in
        widths below 128), an even number since rotary positions turn pairs; first multiples of 8, which attention kernels are
        made for; near 64."""
        head_dim = getattr(self, "head_dim", None)
        sizes = [head_dim] if head_dim else range(16 if width < 128 else 32, 129, 2)
        legal = [size for size in sizes if width % size == 0]
        for size in sorted(legal, key=lambda size: (size % 8 > 0, abs(math.log(size / 64)), size)):
            yield {"num_attention_heads": width // size}

    def shape(self) -> dict[str, Any]:
        """The fields with a value: those of the named size, with those that the recipe says itself over them."""
        said = {name: getattr(self, name) for name in type(self).model_fields if name not in _NO_SHAPE}
        return {**self.sizes.get(self.size or "", {}), **{name: one for name, one in said.items() if one is not None}}

    def head_contradictions(self) -> Iterator[tuple[str, str]]:
        """What is wrong where every head has an equal share of `hidden_size`."""
        width, heads = self.shape().get("hidden_size"), self.shape().get("num_attention_heads")
        if width and heads and width % heads:
            yield "hidden_size", f"{width} is not a multiple of num_attention_heads ({heads}); change one"

    @property
    def architecture(self) -> str:
        """What models are called in names: the family, or what a family of many architectures has been asked for."""
        return self.family

    @property
    def attention_window(self) -> int | None:
        """How far the layers see that do not see everything; None where all do. Of a model of both kinds."""
        return None

    @property
    def longest_sequence(self) -> int | None:
        """Tokens of the longest sequence that the model takes, where the recipe says it."""
        return None

    @model_validator(mode="wrap")
    @classmethod
    def _of_its_family(cls, values: Any, handler: ModelWrapValidatorHandler["Model"]) -> "Model":
        if cls is Model and isinstance(values, dict):
            return section_of(values).model_validate(values)
        return handler(cls._with_values_of_size(values) if isinstance(values, dict) else values)

    @classmethod
    def _with_values_of_size(cls, values: dict[str, Any]) -> dict[str, Any]:
        """With those of the named size for fields whose default is not None, which would look like a wish of the user."""
        size = values.get("size")
        of_size = cls.sizes.get(size, {}) if isinstance(size, str) else {}
        return {name: one for name, one in of_size.items() if cls.model_fields[name].default is not None} | values

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """For editors, `model:` takes the fields of all families; of a field that several have, the first one explains it."""
        reference = handler(core_schema)
        if cls is Model:
            schema = handler.resolve_ref_schema(reference)
            properties: dict[str, Any] = {}
            for section in FAMILIES.values():
                own = handler.resolve_ref_schema(handler(section.__pydantic_core_schema__))["properties"]
                properties |= {name: one for name, one in own.items() if name not in properties}
            names = {"const": DEFAULT_FAMILY} if len(FAMILIES) == 1 else {"enum": list(FAMILIES)}
            properties["family"] = names | properties["family"]
            schema["properties"] = properties
            del schema["description"]  # it is for readers of the code
        return reference


AnyModel = SerializeAsAny[Model]
"""A family's section, with all of its fields where it is written out."""


def section_of(values: Mapping[str, Any]) -> type[Model]:
    """The section of the family that `values` name; for a family that does not exist, that of the default."""
    family = values.get("family", DEFAULT_FAMILY)
    return FAMILIES.get(family if isinstance(family, str) else DEFAULT_FAMILY, FAMILIES[DEFAULT_FAMILY])


def all_fields() -> dict[str, FieldInfo]:
    """The fields of all families; one that several have is the first family's."""
    fields: dict[str, FieldInfo] = {}
    for section in FAMILIES.values():
        fields |= {name: field for name, field in section.model_fields.items() if name not in fields}
    return fields
