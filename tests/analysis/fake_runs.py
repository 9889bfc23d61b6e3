"""A run folder as lmeff.run leaves it, made of thin air: 9 anchors, 12 phenomena, 67 paradigms."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

ANCHORS = (0, 25, 50, 100, 250, 500, 1000, 1500, 2000)  # million tokens
BATCH_TOKENS = 131_072
PHENOMENA = {
    "anaphor_agreement": "anaphor_gender_agreement anaphor_number_agreement",
    "argument_structure": "animate_subject_passive animate_subject_trans causative drop_argument inchoative "
    "intransitive passive_1 passive_2 transitive",
    "binding": "principle_A_c_command principle_A_case_1 principle_A_case_2 principle_A_domain_1 principle_A_domain_2 "
    "principle_A_domain_3 principle_A_reconstruction",
    "control_raising": "existential_there_object_raising existential_there_subject_raising expletive_it_object_raising "
    "tough_vs_raising_1 tough_vs_raising_2",
    "determiner_noun_agreement": "determiner_noun_agreement_1 determiner_noun_agreement_2 "
    "determiner_noun_agreement_irregular_1 determiner_noun_agreement_irregular_2 determiner_noun_agreement_with_adj_2 "
    "determiner_noun_agreement_with_adj_irregular_1 determiner_noun_agreement_with_adj_irregular_2 "
    "determiner_noun_agreement_with_adjective_1",
    "ellipsis": "ellipsis_n_bar_1 ellipsis_n_bar_2",
    "filler_gap_dependency": "wh_questions_object_gap wh_questions_subject_gap wh_questions_subject_gap_long_distance "
    "wh_vs_that_no_gap wh_vs_that_no_gap_long_distance wh_vs_that_with_gap wh_vs_that_with_gap_long_distance",
    "irregular_forms": "irregular_past_participle_adjectives irregular_past_participle_verbs",
    "island_effects": "adjunct_island complex_NP_island coordinate_structure_constraint_complex_left_branch "
    "coordinate_structure_constraint_object_extraction left_branch_island_echo_question "
    "left_branch_island_simple_question sentential_subject_island wh_island",
    "npi_licensing": "matrix_question_npi_licensor_present npi_present_1 npi_present_2 only_npi_licensor_present "
    "only_npi_scope sentential_negation_npi_licensor_present sentential_negation_npi_scope",
    "quantifiers": "existential_there_quantifiers_1 existential_there_quantifiers_2 superlative_quantifiers_1 "
    "superlative_quantifiers_2",
    "subject_verb_agreement": "distractor_agreement_relational_noun distractor_agreement_relative_clause "
    "irregular_plural_subject_verb_agreement_1 irregular_plural_subject_verb_agreement_2 "
    "regular_plural_subject_verb_agreement_1 regular_plural_subject_verb_agreement_2",
}
GROUP = "lmeff_blimp"
SUBTASKS = {
    GROUP: [f"{GROUP}_{phenomenon}" for phenomenon in PHENOMENA],
    **{f"{GROUP}_{name}": [f"{GROUP}_{leaf}" for leaf in leaves.split()] for name, leaves in PHENOMENA.items()},
}
LEAVES = [leaf for phenomenon in SUBTASKS[GROUP] for leaf in SUBTASKS[phenomenon]]
RECIPE = """\
name: {name}
seed: {seed}
corpus: {{name: hybrid_3.7B, epochs: 50}}
tokenizer: {{vocab_size: 50257}}
model: {{family: llama, size: 180m}}
batch: {{tokens: 131072, sequence_length: 256}}
anchors: {{tokens: [{anchors}]}}
optimizer: {{name: adamw, learning_rate: {learning_rate}}}
evaluation: {{tasks: [lmeff_blimp]}}
"""


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2))


def write_documents(path: Path, number: int = 300) -> None:
    """As JSON lines, of different lengths."""
    texts = ["word " * (3 + each % 40) + f"number {each} ends." for each in range(number)]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))


def say_which_tokens(run: Path, data: Path, fingerprint: str) -> None:
    """In the files of a run: that it was trained on these tokens, which lie under `data`."""
    document = {"corpus": {"fingerprint": "x"}, "tokens": {"fingerprint": fingerprint, "tokenizer_sha256": "y"}}
    for path in run.glob("revisions/*/anchor.json"):
        write_json(path.parent / "provenance.json", document)
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text() + f"paths: {{data: {data}}}\n")


def revision_name(seed: int, millions: int) -> str:
    return f"seed-{seed}-tokens-{millions}M" if millions else f"seed-{seed}-tokens-0"


def steps_of(tokens: int) -> int:
    return -(-tokens // BATCH_TOKENS)


def curve(tokens: float) -> float:
    """How far training has come, from 0 to 1, at a number of tokens."""
    return float(np.log1p(tokens / 25e6) / np.log1p(2e9 / 25e6))


def anchor_document(seed: int, millions: int, quality: float, same_as: str | None = None) -> dict:
    step = steps_of(millions * 10**6)
    loss = 10.8 - (7.1 + quality) * curve(millions * 1e6) ** 0.45
    return {
        "format": 1, "nominal_tokens": millions * 10**6, "exact_tokens": step * BATCH_TOKENS, "step": step,
        "epoch": millions * 1e6 / 3.7e9, "seed": seed, "mode": "snapshot", "part": None,
        "loss": loss - 0.02 if step else None, "dev_loss": loss, "dev_perplexity": float(np.exp(loss)),
        "dev_bits_per_byte": loss / np.log(2) / 4.3, "num_skipped_steps": 0, "train_seconds": step * 0.8,
        "flops": step * 1.5e14, "world_size": 1, "device": "NVIDIA H200", "weights_sha256": "ab" * 32,
        "same_as": same_as,
    }  # fmt: skip


def plan_document(name: str, seed: int, planned: int) -> dict:
    memory = {"states": 1, "activations": 1, "logits": 1, "total": 3}
    return {
        "format": 1, "name": name, "seed": seed, "batch_tokens": BATCH_TOKENS, "sequence_length": 256,
        "sequences_per_step": 512, "num_steps": steps_of(planned * 10**6),
        "num_tokens": steps_of(planned * 10**6) * BATCH_TOKENS,
        "warmup_steps": 300, "anchors": [], "parameters": {"total": 232_930_560, "embedding": 77_194_752,
        "non_embedding": 155_735_808}, "flops_per_token": 1.2e9, "flops_per_token_causal": 1.1e9, "total_flops": 2.4e18,
        "revision_bytes": 931_722_240, "disk_bytes": 10**10, "hub_bytes": 10**10, "world_size": 1, "micro_batch": 64,
        "accumulation": 8, "memory": dict.fromkeys(("ddp", "zero1", "zero2", "zero3"), memory),
        "tokens_per_second": None, "hours": None,
    }  # fmt: skip


def log_record(step: int, loss: float | None) -> dict:
    return {
        "step": step, "tokens": step * BATCH_TOKENS, "epoch": step * BATCH_TOKENS / 3.7e9, "loss": loss,
        "grad_norm": 0.6,
        "learning_rate": 3e-4, "tokens_per_second": 161_000.0, "num_loss_tokens": step * BATCH_TOKENS * 255 // 256,
        "num_skipped_steps": 0, "time": "2026-11-22T14:40:00+00:00",
    }  # fmt: skip


def write_log(folder: Path, last_step: int, quality: float, noise: np.random.Generator) -> None:
    lines = []
    for step in range(10, last_step + 1, 10):
        loss = 10.8 - (7.1 + quality) * curve(step * BATCH_TOKENS) ** 0.45 + noise.normal(0, 0.04)
        lines.append(json.dumps(log_record(step, loss)))
    (folder / "run.log.jsonl").write_text("\n".join(lines) + "\n")


def result_document(scores: np.ndarray) -> dict:
    """lm-eval's layout for scores of shape (paradigms, pairs); a group is the mean over its paradigms."""
    num_pairs = scores.shape[1]
    means, errors = scores.mean(axis=1), scores.std(axis=1, ddof=1) / np.sqrt(num_pairs)
    row = {leaf: index for index, leaf in enumerate(LEAVES)}
    below = {GROUP: LEAVES, **{name: SUBTASKS[name] for name in SUBTASKS[GROUP]}, **{leaf: [leaf] for leaf in LEAVES}}
    results = {}
    for name, leaves in below.items():
        rows = [row[leaf] for leaf in leaves]
        stderr = float(np.sqrt((errors[rows] ** 2).sum()) / len(rows))
        results[name] = {"alias": name, "name": name, "acc,none": float(means[rows].mean()), "acc_stderr,none": stderr}
    return {
        "results": results,
        "groups": {name: results[name] for name in SUBTASKS},
        "group_subtasks": SUBTASKS,
        "configs": {},
        "versions": dict.fromkeys(results, 1),
        "n-samples": {leaf: {"original": num_pairs, "effective": num_pairs} for leaf in LEAVES},
        "higher_is_better": {name: {"acc": True} for name in results},
    }


def pair_table(margin: np.ndarray) -> pd.DataFrame:
    """The columns of `pairs/TASK.parquet`, from log-probability of good minus bad: shape (paradigms, pairs)."""
    return pd.DataFrame(
        {
            "task": np.repeat(LEAVES, margin.shape[1]),
            "pair": np.tile(np.arange(margin.shape[1]), len(LEAVES)),
            "good": -40 + margin.ravel(),
            "bad": -40.0,
            "score": (np.sign(margin.ravel()) + 1) / 2,
        }
    )


def write_fake_run(
    outputs: Path,
    name: str = "180m_hybrid",
    seed: int = 0,
    *,
    anchors: tuple[int, ...] = ANCHORS,
    planned: int | None = None,
    num_pairs: int = 100,
    quality: float = 0.0,
    state: str = "complete",
    error: str | None = None,
    scored: bool = True,
    final: bool = True,
    learning_rate: str = "3e-4",
) -> Path:
    """Writes `outputs/name/seed-S` and returns it. `quality` shifts the run up; it was to end at `planned`."""
    folder = outputs / name / f"seed-{seed}"
    folder.mkdir(parents=True)
    noise = np.random.default_rng(1000 * seed + 7)
    names = ", ".join(f"{millions}M" if millions else "0" for millions in anchors)
    (folder / "recipe.yaml").write_text(
        RECIPE.format(name=name, seed=seed, anchors=names, learning_rate=learning_rate), encoding="utf-8"
    )
    write_json(folder / "plan.json", plan_document(name, seed, planned or anchors[-1]))
    last = steps_of(anchors[-1] * 10**6)
    write_json(
        folder / "state.json",
        {
            "format": 1, "state": state, "step": last, "tokens": last * BATCH_TOKENS, "next_anchor": None, "pid": 1,
            "host": "node1", "job": None, "error": error, "updated": "2026-11-22T14:40:00+00:00",
        },
    )  # fmt: skip
    write_log(folder, last, quality, noise)

    # Pairs differ in how hard they are, the same way at every anchor: that is what makes a paired comparison pay.
    items = np.random.default_rng(3)
    ceiling = items.uniform(-0.5, 3.2, len(LEAVES))
    onset = items.uniform(0.0, 0.9, len(LEAVES))
    hardness = items.normal(0, 1.6, (len(LEAVES), num_pairs))
    for millions in anchors:
        revision = revision_name(seed, millions)
        write_json(folder / "revisions" / revision / "anchor.json", anchor_document(seed, millions, quality))
        progress = np.clip((curve(millions * 1e6) - onset) / 0.35, 0, 1)
        skill = (ceiling + quality) * progress * noise.normal(1, 0.05)
        margin = skill[:, None] + hardness * (0.3 + progress[:, None]) + noise.normal(0, 0.6, hardness.shape)
        margin[noise.random(margin.shape) < 0.002] = 0.0
        if scored:
            results = folder / "results" / revision
            (results / "pairs").mkdir(parents=True)
            pair_table(margin).to_parquet(results / "pairs" / f"{GROUP}.parquet")
            write_json(results / f"{GROUP}.json", result_document((np.sign(margin) + 1) / 2))
    if final:
        document = anchor_document(seed, anchors[-1], quality, same_as=revision_name(seed, anchors[-1]))
        write_json(folder / "revisions" / f"seed-{seed}" / "anchor.json", document)
    return folder
