"""What weight decay and Muon take of every family, by name."""

from pathlib import Path

import pytest
import torch
from models.tiny_families import TINY, recipe_of
from torch import nn
from torch.optim import Muon

from lmeff.models.build import build_model
from lmeff.models.families import family_of_config
from lmeff.training.optimizers import decayed_names

MATRICES = {
    "llama": """model.layers.N.self_attn.q_proj.weight model.layers.N.self_attn.k_proj.weight
        model.layers.N.self_attn.v_proj.weight model.layers.N.self_attn.o_proj.weight model.layers.N.mlp.gate_proj.weight
        model.layers.N.mlp.up_proj.weight model.layers.N.mlp.down_proj.weight""",
    "gpt2": """transformer.h.N.attn.c_attn.weight transformer.h.N.attn.c_proj.weight transformer.h.N.mlp.c_fc.weight
        transformer.h.N.mlp.c_proj.weight""",
    "gptj": """transformer.h.N.attn.k_proj.weight transformer.h.N.attn.v_proj.weight transformer.h.N.attn.q_proj.weight
        transformer.h.N.attn.out_proj.weight transformer.h.N.mlp.fc_in.weight transformer.h.N.mlp.fc_out.weight""",
    "mamba2": "backbone.layers.N.mixer.in_proj.weight backbone.layers.N.mixer.out_proj.weight",
    "bert": """bert.encoder.layer.N.attention.self.query.weight bert.encoder.layer.N.attention.self.key.weight
        bert.encoder.layer.N.attention.self.value.weight bert.encoder.layer.N.attention.output.dense.weight
        bert.encoder.layer.N.intermediate.dense.weight bert.encoder.layer.N.output.dense.weight""",
    "modernbert": """model.layers.N.attn.Wqkv.weight model.layers.N.attn.Wo.weight model.layers.N.mlp.Wi.weight
        model.layers.N.mlp.Wo.weight""",
    "xlnet": "transformer.layer.N.ff.layer_1.weight transformer.layer.N.ff.layer_2.weight",
}
"""The matrices of the layers 0 and 1: Muon's."""
OTHERS_DECAYED = {
    "llama": "model.embed_tokens.weight lm_head.weight",
    "gpt2": "transformer.wte.weight transformer.wpe.weight",
    "gptj": "transformer.wte.weight lm_head.weight",
    "mamba2": "backbone.embeddings.weight backbone.layers.N.mixer.conv1d.weight lm_head.weight",
    "bert": """bert.embeddings.word_embeddings.weight bert.embeddings.position_embeddings.weight
        bert.embeddings.token_type_embeddings.weight cls.predictions.transform.dense.weight""",
    "modernbert": "model.embeddings.tok_embeddings.weight head.dense.weight",
    "xlnet": """transformer.word_embedding.weight transformer.layer.N.rel_attn.q transformer.layer.N.rel_attn.k
        transformer.layer.N.rel_attn.v transformer.layer.N.rel_attn.o transformer.layer.N.rel_attn.r""",
}
"""Embeddings, heads and convolutions, which AdamW takes, and decays."""


def of_layers(names: str) -> set[str]:
    return {name.replace("N", layer) for name in names.split() for layer in "01"}


@pytest.mark.parametrize("family", TINY)
def test_muon_takes_the_matrices_of_layers_and_decay_what_is_no_vector(tmp_path: Path, family: str) -> None:
    model = build_model(recipe_of(tmp_path, family, TINY[family]))
    matrices, others = of_layers(MATRICES[family]), of_layers(OTHERS_DECAYED[family])
    (known,) = {family_of_config(model.config)}
    assert known is not None
    assert set(known.muon_names(model)) == matrices
    assert set(decayed_names(model)) == matrices | others
    # The rest are norms, biases, and what a state space model keeps of itself.
    rest = {name.rpartition(".")[2] for name, _ in model.named_parameters()} - {"weight"}
    assert rest <= {
        "bias",
        "dt_bias",
        "A_log",
        "D",
        "r_w_bias",
        "r_r_bias",
        "r_s_bias",
        "seg_embed",
        "mask_emb",
        *"qkvor",
    }


def test_a_transposed_matrix_gets_the_transposed_update() -> None:
    """GPT-2 keeps its matrices as (in, out); Muon's direction and its scale are the same for both ways."""
    generator = torch.Generator().manual_seed(0)
    start, gradient = torch.randn(2, 32, 96, generator=generator)
    matrix, transposed = nn.Parameter(start.clone()), nn.Parameter(start.T.clone())
    for one, its_gradient in ((matrix, gradient), (transposed, gradient.T.contiguous())):
        one.grad = its_gradient
        Muon([one], lr=0.1, weight_decay=0.0, adjust_lr_fn="match_rms_adamw").step()
    update = matrix.detach() - start
    torch.testing.assert_close(transposed.detach().T - start, update, rtol=0, atol=2e-3)
    # As large as AdamW's: 0.2 times the root of the longer side, for singular values near 1.
    singular = torch.linalg.svdvals(update) / (0.1 * 0.2 * 96**0.5)
    assert singular.min() > 0.5
    assert singular.max() < 1.3
