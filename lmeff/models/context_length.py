"""How many tokens a model takes: one rule for every verb."""

import copy

import torch
from torch.overrides import TorchFunctionMode
from transformers import AutoModel, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from lmeff.models.device import is_out_of_memory

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
"""A longer text is not put through a layer only to see whether it can be."""
_NO_COPY = (ArithmeticError, AttributeError, ImportError, LookupError, MemoryError, RuntimeError, ValueError)
"""What a family raises that cannot be cut down to such a copy, though the model itself may be whole."""
_known: dict[str, int | None] = {}
"""By configuration."""
LENGTH_WHERE_ANY = 2048
"""Of a window where a model takes any number of tokens, as in lm-eval."""


def context_length(config: PreTrainedConfig) -> int | None:
    """The most tokens that a model of this configuration takes in one text; None for any number.

    What the configuration says, by whichever name. Where positions are not computed but looked up, that may be wrong: a
    RoBERTa with 514 positions begins at position 2 and takes 512 tokens. So those are tried on a copy with one layer, without
    any change of random states.
    """
    config = config.get_text_config()
    said = next((number for name in _NAMES if (number := _positive(getattr(config, name, None)))), None)
    if getattr(config, "is_encoder_decoder", False) or getattr(config, "rope_parameters", None):
        return said
    return _tried(config, said)


def window_length(config: PreTrainedConfig) -> int:
    """Tokens of a window of a long text, where nobody says how many: what the model takes, else as in lm-eval."""
    return context_length(config) or LENGTH_WHERE_ANY


def longest_of_fixed_positions(config: PreTrainedConfig) -> int | None:
    """Beyond so many tokens a text gets other rotary frequencies, and with it every text of its batch (LongRoPE, Ding et al.
    2024). None for a model that never does."""
    config = config.get_text_config()
    most = context_length(config)
    parameters = getattr(config, "rope_parameters", None) or {}
    kinds = [one for one in (parameters, *parameters.values()) if isinstance(one, dict)]
    originals = [one.get("original_max_position_embeddings") for one in kinds if one.get("rope_type") == "longrope"]
    found = min(filter(None, map(_positive, originals)), default=None)
    return found if found is not None and (most is None or found < most) else None


def _positive(value: object) -> int | None:
    """-1 and 0 say that there is no limit, as None does."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _tried(config: PreTrainedConfig, said: int | None) -> int | None:
    """What a copy with one layer takes. Of one that cannot be built, what its configuration says."""
    key = config.to_json_string(use_diff=False)
    if key not in _known:
        try:
            with torch.random.fork_rng(devices=[]):
                body = _with_one_layer(config)
            _known[key] = _table_length(body) or _longest_taken(body, said)
        except _NO_COPY:
            _known[key] = said
    return _known[key]


def _with_one_layer(config: PreTrainedConfig) -> PreTrainedModel:
    """A body with random weights, and of a model with an encoder beside it the decoder."""
    config = copy.deepcopy(config)
    pad = getattr(config, "pad_token_id", None)
    # Positions of a RoBERTa begin behind the number of its padding, so that token stays, and another one to read.
    needed = pad + 2 if isinstance(pad, int) else 0
    config.vocab_size = min(config.vocab_size, max(_FEW_TOKENS, needed))
    for name, value in config.to_dict().items():
        if name.endswith("_token_id") and isinstance(value, int) and value >= config.vocab_size:
            setattr(config, name, None)
    config.num_hidden_layers = 1
    for name in ("layer_types", "attention_layers"):
        # A Mamba computes it from the number of layers.
        is_computed = isinstance(getattr(type(config), name, None), property)
        if not is_computed and (kinds := getattr(config, name, None)):
            setattr(config, name, kinds[:1])
    auto = AutoModelForCausalLM if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING else AutoModel
    return auto.from_config(config).base_model.eval()


class _Lookups(TorchFunctionMode):
    """Notes what is looked up in embeddings: the rows of a table, and their numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[int, list[int]]] = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.nn.functional.embedding:
            input_ids, table = (*args, *(kwargs or {}).values())[:2]
            self.found.append((table.shape[0], input_ids.flatten().tolist()))
        return function(*args, **(kwargs or {}))


def _table_length(body: PreTrainedModel) -> int | None:
    """Rows of the table of positions from the first that is used on; None where no positions are looked up. Of equal tokens
    the positions alone are different, one after the other."""
    with _Lookups() as lookups:
        _pass(body, 4)
    tables = [rows - ids[0] for rows, ids in lookups.found if ids[:4] == list(range(ids[0], ids[0] + 4))]
    return min(tables, default=None)


def _longest_taken(body: PreTrainedModel, said: int | None) -> int | None:
    """Where positions are no embeddings, as those of an MPT or a GPT-J: at most what is said."""
    if said is None or said > _LONGEST_TRIED or _takes(body, said):
        return said
    takes, fails = 0, said
    while fails - takes > 1:
        middle = (takes + fails) // 2
        takes, fails = (middle, fails) if _takes(body, middle) else (takes, middle)
    return takes or said


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
    last = body.get_input_embeddings().num_embeddings - 1
    token = last - 1 if getattr(body.config, "pad_token_id", None) == last else last  # padding may have no position
    body(input_ids=torch.full((1, length), token))
