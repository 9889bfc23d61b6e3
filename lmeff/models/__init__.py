"""Model families, named sizes, and building a model. Importing this room does not import torch; `models.build` does."""

from lmeff.models.sizes import SIZES, Parameters, Shape, count_parameters, resolve_shape

__all__ = ["SIZES", "Parameters", "Shape", "count_parameters", "resolve_shape"]
