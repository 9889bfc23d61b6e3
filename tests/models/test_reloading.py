"""A saved model of every family has the weights that were saved, whoever loads it; and Mamba-2 is what its paper says."""

import json

import numpy as np
import pytest
import torch
import transformers
from models.tiny_families import TINY, recipe_of
from safetensors.torch import load_file

from lmeff.models.build import build_model
from lmeff.models.families import family_of
from lmeff.models.loading import load_language_model
from lmeff.models.writing import write_model


@pytest.mark.parametrize("family", sorted(TINY))
def test_loaded_weights_are_those_that_were_saved(family, tmp_path):
    recipe = recipe_of(tmp_path, family, TINY[family])
    model = build_model(recipe)
    write_model(model, model.state_dict(), tmp_path)
    stock = getattr(transformers, family_of(recipe).auto_class).from_pretrained(tmp_path)
    for loaded in (stock, load_language_model(tmp_path)):
        assert type(loaded) is type(model)
        weights, wanted = loaded.state_dict(), model.state_dict()
        assert weights.keys() == wanted.keys()
        assert [name for name in wanted if not torch.equal(weights[name], wanted[name])] == []


def test_a_mamba_of_others_is_loaded_as_it_was_saved(tmp_path):
    """transformers 5 divides these weights when it loads them."""
    model = build_model(recipe_of(tmp_path, "mamba2", TINY["mamba2"]))
    write_model(model, model.state_dict(), tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rescale_prenorm_residual": True}))
    loaded, saved = load_language_model(tmp_path).state_dict(), load_file(tmp_path / "model.safetensors")
    assert [name for name in saved if not torch.equal(loaded[name], saved[name])] == []


def test_first_weights_of_mamba2_are_scaled_by_depth(tmp_path):
    """Those that add to the residual stream, by the root of the number of layers (Radford et al. 2019); drawn evenly up to
    1 / root of the width before that."""
    layers = 4
    model = build_model(
        recipe_of(tmp_path, "mamba2", TINY["mamba2"] | {"num_hidden_layers": layers, "hidden_size": 64})
    )
    bound = 1 / np.sqrt(model.config.expand * model.config.hidden_size) / np.sqrt(layers)
    for name, weight in model.named_parameters():
        if name.endswith("out_proj.weight"):
            assert 0.95 * bound < weight.abs().max().item() <= bound, name


def test_mamba2_is_its_recurrence(tmp_path):
    """Dao & Gu 2024, a token at a time in float64: convolution, states that decay and are written to, gated norm."""
    model = build_model(recipe_of(tmp_path, "mamba2", TINY["mamba2"] | {"n_groups": 2, "chunk_size": 8})).eval()
    config, draw = model.config, torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if not name.endswith("A_log"):
                weight.copy_(weight + 0.3 * torch.randn(weight.shape, generator=draw))
    ids = torch.randint(3, 301, (1, 21), generator=draw)
    with torch.no_grad():
        logits = model.double()(ids, use_cache=False).logits[0].numpy()
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}

    def normed(x, weight):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + config.layer_norm_epsilon) * weight

    def silu(x):
        return x / (1 + np.exp(-x))

    heads, width, state, groups = config.num_heads, config.head_dim, config.state_size, config.n_groups
    inner = heads * width
    hidden = weights["backbone.embeddings.weight"][ids[0].numpy()]
    for layer in range(config.num_hidden_layers):
        own = {name.removeprefix(f"backbone.layers.{layer}."): one for name, one in weights.items()}
        projected = normed(hidden, own["norm.weight"]) @ own["mixer.in_proj.weight"].T
        gate, mixed, steps = np.split(projected, [inner, 2 * inner + 2 * groups * state], axis=-1)
        kernel = own["mixer.conv1d.weight"][:, 0]
        padded = np.concatenate([np.zeros((kernel.shape[1] - 1, mixed.shape[1])), mixed])
        mixed = silu(
            sum(padded[k : k + len(mixed)] * kernel[:, k] for k in range(kernel.shape[1])) + own["mixer.conv1d.bias"]
        )
        values, keys, queries = np.split(mixed, [inner, inner + groups * state], axis=-1)
        steps = np.log1p(np.exp(steps + own["mixer.dt_bias"]))
        decay = np.exp(-steps * np.exp(own["mixer.A_log"]))
        states, outputs = np.zeros((heads, width, state)), []
        for t in range(len(mixed)):
            value = values[t].reshape(heads, width)
            key, query = (x[t].reshape(groups, state).repeat(heads // groups, axis=0) for x in (keys, queries))
            states = decay[t][:, None, None] * states + steps[t][:, None, None] * value[:, :, None] * key[:, None]
            outputs.append(((states * query[:, None]).sum(-1) + own["mixer.D"][:, None] * value).reshape(-1))
        gated = (np.array(outputs) * silu(gate)).reshape(len(mixed), groups, -1)
        mixer = normed(gated, own["mixer.norm.weight"].reshape(groups, -1)).reshape(len(mixed), -1)
        hidden = hidden + mixer @ own["mixer.out_proj.weight"].T
    expected = normed(hidden, weights["backbone.norm_f.weight"]) @ weights["lm_head.weight"].T
    # The states are computed in float32, whatever the model is in.
    assert np.abs(logits - expected).max() < 1e-5 * np.abs(expected).max()
