"""How many tokens a model takes in one text, the same for every verb."""

import copy
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel

from lmeff.library_internals import models_loaded_whole
from lmeff.models.device import is_out_of_memory
from lmeff.models.loading import language_model_class

_NAMES = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "max_seq_length",
    "max_sequence_length",
    "n_ctx",
    "context_length",
)
_FEW_TOKENS = 64
_LONGEST_TRIED = 2048
"""A longer text takes too long to be tried."""
NO_COPY = (ArithmeticError, AttributeError, ImportError, LookupError, MemoryError, RuntimeError, ValueError)
"""What a model class raises that cannot be built with one layer and few tokens, though the model itself may be right."""
_tried_lengths: dict[str, int | None] = {}
"""What was found by trying, by configuration."""
DEFAULT_WINDOW_LENGTH = 2048
"""The length of a window for a model that takes any number of tokens, as in lm-eval."""


def context_length(config: PreTrainedConfig) -> int | None:
    """The most tokens that a model of this configuration takes in one text; None for any number.

    Configurations have several names for it. With a table of positions they may say too much: a RoBERTa with 514 positions
    begins at position 2 and takes 512 tokens. So a copy with one layer is tried then. Random states stay as they are.
    """
    config = config.get_text_config()
    stated = next((number for name in _NAMES if (number := _positive(getattr(config, name, None)))), None)
    if getattr(config, "is_encoder_decoder", False) or getattr(config, "rope_parameters", None):
        return stated
    return _try_length(config, stated)


def window_length(config: PreTrainedConfig) -> int:
    """Tokens of a window of a long text unless a user says otherwise: as many as the model takes, else as in lm-eval."""
    return context_length(config) or DEFAULT_WINDOW_LENGTH


def longest_with_original_frequencies(config: PreTrainedConfig) -> int | None:
    """Tokens of the longest text that keeps the original rotary frequencies. A longer one gets others, and so does every text
    in its batch (LongRoPE, Ding et al. 2024). None for a model with the same frequencies for all texts."""
    config = config.get_text_config()
    longest = context_length(config)
    parameters = getattr(config, "rope_parameters", None) or {}
    kinds = [one for one in (parameters, *parameters.values()) if isinstance(one, dict)]
    originals = [one.get("original_max_position_embeddings") for one in kinds if one.get("rope_type") == "longrope"]
    shortest = min(filter(None, map(_positive, originals)), default=None)
    return shortest if shortest is not None and (longest is None or shortest < longest) else None


def _positive(value: object) -> int | None:
    """The value if it is a limit; None for what says that there is no limit: None, 0 and -1."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _try_length(config: PreTrainedConfig, stated: int | None) -> int | None:
    """The longest text that a copy with one layer takes; `stated`, what the configuration says, where there can be no copy."""
    key = config.to_json_string(use_diff=False)
    if key not in _tried_lengths:
        try:
            with torch.random.fork_rng(devices=[]):
                model = model_with_one_layer(config, language_model_class(config) or AutoModel)
            body: Any = model.base_model
            _tried_lengths[key] = _table_length(body) or _longest_taken(body, stated)
        except NO_COPY:
            _tried_lengths[key] = stated
    return _tried_lengths[key]


def model_with_one_layer(config: PreTrainedConfig, auto: Any) -> PreTrainedModel:
    """A model of one layer and few tokens, with random weights; of a model that also has an encoder, its decoder.

    Args:
        auto: the class of transformers that builds it from a configuration.
    """
    config = copy.deepcopy(config)
    pad = getattr(config, "pad_token_id", None)
    # The positions of a RoBERTa begin after the id of its padding token. So that id stays, and one more token to read.
    needed_tokens = pad + 2 if isinstance(pad, int) else 0
    config.vocab_size = min(config.vocab_size, max(_FEW_TOKENS, needed_tokens))
    for name, value in config.to_dict().items():
        if name.endswith("_token_id") and isinstance(value, int) and value >= config.vocab_size:
            setattr(config, name, None)
    config.num_hidden_layers = 1
    for name in ("layer_types", "attention_layers"):
        # Some configurations, such as Mamba's, compute it from the number of layers.
        is_computed = isinstance(getattr(type(config), name, None), property)
        if not is_computed and (kinds := getattr(config, name, None)):
            setattr(config, name, kinds[:1])
    with models_loaded_whole():
        return auto.from_config(config).eval()


class _LookupRecorder(TorchFunctionMode):
    """Records every look-up in an embedding: how many rows the table has, and which rows were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.lookups: list[tuple[int, list[int]]] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.nn.functional.embedding:
            input_ids, table = (*args, *(kwargs or {}).values())[:2]
            self.lookups.append((table.shape[0], input_ids.flatten().tolist()))
        return function(*args, **(kwargs or {}))


def _table_length(body: PreTrainedModel) -> int | None:
    """Rows of the table of positions, from the first that is used; None for a model without such a table. The text is one token
    repeated, so only positions are looked up in rows that follow one another."""
    with _LookupRecorder() as recorder:
        _pass(body, 4)
    tables = [rows - ids[0] for rows, ids in recorder.lookups if ids[:4] == list(range(ids[0], ids[0] + 4))]
    return min(tables, default=None)


def _longest_taken(body: PreTrainedModel, stated: int | None) -> int | None:
    """For positions that are no embeddings, such as those of MPT and GPT-J: what the configuration states, or less."""
    if stated is None or stated > _LONGEST_TRIED or _takes(body, stated):
        return stated
    takes, fails = 0, stated
    while fails - takes > 1:
        middle = (takes + fails) // 2
        takes, fails = (middle, fails) if _takes(body, middle) else (takes, middle)
    return takes or stated


def _takes(body: PreTrainedModel, length: int) -> bool:
    try:
        _pass(body, length)
    except (IndexError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        return False
    return True


@torch.no_grad()
def _pass(body: PreTrainedModel, length: int) -> None:
    embeddings: Any = body.get_input_embeddings()
    last = embeddings.num_embeddings - 1
    token = (
        last - 1 if getattr(body.config, "pad_token_id", None) == last else last
    )  # a padding token may get no position
    body(input_ids=torch.full((1, length), token))
