"""Tokens to steps, and what a run costs."""

import json
import statistics
import subprocess
import sys
from pathlib import Path

import prepared
import pytest
from hypothesis import given
from hypothesis import strategies as st
from launching import finish, read_lines, run_folder, start, write_recipe

from lmeff.corpora import prepare_text
from lmeff.errors import InputError
from lmeff.formats.plan import PlanDocument
from lmeff.models.families import family_of
from lmeff.plan import check_data, make_plan, plan_anchors
from lmeff.plan.batch import micro_batches, split_batch
from lmeff.plan.compute import flops_of
from lmeff.plan.memory import WORK_SPACES
from lmeff.plan.text import format_plan
from lmeff.quantities import format_bytes, format_short
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.anchors import Anchors
from lmeff.recipe.sections.batch import Batch
from lmeff.recipe.sections.corpus import Corpus
from lmeff.recipe.sections.model import LlamaSection, Model
from lmeff.recipe.sections.objective import Objective
from lmeff.recipe.sections.schedule import Schedule
from lmeff.recipe.sections.tokenizer import Tokenizer
from lmeff.tokens import prepare_tokenizer, prepare_tokens

OTHERS = {
    "gpt2": "causal",
    "gptj": "causal",
    "mamba2": "causal",
    "bert": "masked",
    "modernbert": "masked",
    "xlnet": "permutation",
}
"""Families beside Llama, with their objectives."""


def recipe(
    tokens: int = 131_072, anchors: tuple = (0, "25M", "2B"), micro: object = "auto", length: int = 256, **fields
) -> Recipe:
    settings = {
        "name": "r",
        "corpus": Corpus(name="synthetic"),
        "tokenizer": Tokenizer(vocab_size=50_257),
        "model": LlamaSection(size="180m"),
        "batch": Batch(tokens=tokens, sequence_length=length, micro=micro),
        "anchors": Anchors(tokens=list(anchors)),
    }
    return Recipe(**settings | fields)


def test_published_steps() -> None:
    """The ancestor's optimizer steps at 25M and 2000M tokens for its three batches."""
    for batch, first, last in ((16_384, 1526, 122_071), (65_536, 382, 30_518), (131_072, 191, 15_259)):
        steps = [anchor.step for anchor in plan_anchors(recipe(batch))]
        assert steps == [0, first, last]


def test_flops_per_token() -> None:
    """Worked by hand for 180m with 50,257 entries: 6 x (155.71M + 38.60M) + 12 x 24 x 768 x 256."""
    layers = 24 * (4 * 768**2 + 3 * 768 * 1792)
    plan = make_plan(recipe())
    assert plan.flops_per_token == 6 * (layers + 50_257 * 768) + 12 * 24 * 768 * 256
    assert plan.flops_per_token == pytest.approx(1.2225e9, rel=1e-4)
    assert plan.flops_per_token_causal == pytest.approx(1.1942e9, rel=1e-4)
    assert plan.total_flops == plan.flops_per_token * plan.num_tokens


def test_flops_are_those_of_each_steps_length() -> None:
    """120 steps of 1,024 tokens: 10 in sequences of 64, 40 of 128 and 70 of 256, with attention over so many."""
    lengths = {"0": 64, "10k": 128, "51_200": 256}
    anchors = ("5k", "20k", "122_880")
    long = recipe(1024, anchors, schedule=Schedule(warmup=0))
    batch = Batch(tokens=1024, sequence_lengths=lengths)
    cut = recipe(anchors=anchors, batch=batch, schedule=Schedule(warmup=0))
    per_token = {length: make_plan(long).flops_per_token - 12 * 24 * 768 * (256 - length) for length in (64, 128, 256)}
    assert flops_of(cut, [(0, 5)]) == 5 * 1024 * per_token[64]
    assert flops_of(cut, [(0, 20), (45, 55)]) == 1024 * (
        10 * per_token[64] + (10 + 5) * per_token[128] + 5 * per_token[256]
    )
    plan = make_plan(cut, mfu=0.4, gpu="h100")
    assert plan.total_flops == 1024 * (10 * per_token[64] + 40 * per_token[128] + 70 * per_token[256])
    assert plan.flops_per_token == per_token[256]
    assert plan.hours * 3600 == pytest.approx(plan.total_flops / (0.4 * 989.4e12))
    assert flops_of(long, [(0, 20)]) == 20 * 1024 * per_token[256]
    assert flops_of(cut, [(0, 0)]) == 0


def test_hours() -> None:
    plan = make_plan(recipe(), mfu=0.4, gpu="H100")
    assert plan.tokens_per_second == pytest.approx(324e3, rel=0.01)
    assert plan.hours == pytest.approx(plan.num_tokens / plan.tokens_per_second / 3600)
    assert make_plan(recipe(), tokens_per_second=1000).hours == pytest.approx(plan.num_tokens / 3.6e6)
    assert make_plan(recipe(), world_size=2, mfu=0.4, gpu="h100").hours == pytest.approx(plan.hours / 2)
    assert make_plan(recipe()).hours is None
    with pytest.raises(InputError, match="--gpu"):
        make_plan(recipe(), mfu=0.4)
    with pytest.raises(InputError, match="'h1000' is not one of"):
        make_plan(recipe(), gpu="h1000")


def test_memory_falls_with_the_stage() -> None:
    plan = make_plan(recipe(), world_size=4)
    states = [plan.memory[name].states for name in ("ddp", "zero1", "zero2", "zero3")]
    assert states == sorted(states, reverse=True)
    assert states[0] == 16 * plan.parameters.total
    assert states[3] == 4 * plan.parameters.total


@pytest.mark.parametrize(
    ("training", "gpu", "precision", "bytes_each"),
    [
        ({"bf16": "auto"}, "h100", "bfloat16", 2),
        ({}, "rtx3090", "bfloat16", 2),
        ({"bf16": "auto"}, "v100", "float32", 4),  # has no bfloat16, so a run takes float32
        ({"bf16": True}, None, "bfloat16", 2),
        ({"bf16": False}, None, "float32", 4),
        ({"fp16": True, "bf16": False}, "t4", "float16", 2),
    ],
)
def test_activations_have_the_precision_that_will_run(training, gpu, precision, bytes_each) -> None:
    """180m with 4 sequences of 256: 24 layers, each with 4 x 768 numbers a token in float32, and 4 x 768 + 4 x 1,792 in the
    precision that will run, with 5 copies of the norms' outputs in 16 bits, and 2 otherwise."""
    plan = make_plan(recipe(micro=4, training=training), gpu=gpu)
    assert (plan.precision, plan.memory_float32) == (precision, None)
    copies, weights = (5, 2 * family_of(recipe()).count_parameters().matmul) if bytes_each == 2 else (2, 0)
    numbers = (4 + copies) * 768 + 4 * 1792
    layers = 4 * 256 * 24 * (4 * 768 * 4 + numbers * bytes_each)
    assert plan.memory["ddp"].activations - weights - WORK_SPACES == pytest.approx(layers, rel=0.02)
    assert f"at this micro-batch, in {precision}" in format_plan(plan)


def test_where_the_device_decides_both_are_shown() -> None:
    plan = make_plan(recipe(micro=4))
    assert plan.precision is None
    assert plan.memory_float32["zero1"].activations > 1.4 * plan.memory["zero1"].activations
    assert plan.memory == make_plan(recipe(micro=4, training={"bf16": True})).memory
    assert plan.memory_float32 == make_plan(recipe(micro=4, training={"bf16": False})).memory
    text = format_plan(plan)
    assert "in bfloat16 (GPUs that have it):" in text
    assert "in float32 (other devices):" in text
    assert "zero" not in text, "with one device its rows are those of ddp"
    assert "try --devices 4" in text
    assert "zero3" in format_plan(make_plan(recipe(micro=4), world_size=4))


def test_the_disk_holds_text_and_tokens(tmp_path: Path) -> None:
    corpus = Corpus(name="synthetic", synthetic={"num_documents": 2_000})
    plan = make_plan(recipe(corpus=corpus, tokenizer=Tokenizer(vocab_size=1000)))
    text = prepare_text(corpus, str(tmp_path))
    prepare_tokens(text, prepare_tokenizer(text, 1000, None))
    real = sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file())
    assert plan.data_bytes == pytest.approx(real, rel=0.3)
    without = make_plan(recipe(corpus=Corpus(name="mine", paths=["a.txt"]), tokenizer=Tokenizer(vocab_size=1000)))
    assert without.data_bytes is None
    assert plan.disk_bytes == without.disk_bytes + plan.data_bytes
    assert " and the checkpoints; text and tokens not counted" in format_plan(without)
    assert "time       add --mfu 0.4" in format_plan(without, gpu="h100")
    assert f"{format_bytes(plan.data_bytes)} of text and tokens (estimated)" in format_plan(plan)


@pytest.mark.parametrize(
    ("corpus", "text_bytes"),
    [
        ({"name": "tinystories"}, 2.25e9),  # the sizes of the files as they are published
        ({"name": "wikitext-103"}, 0.546e9),
        ({"name": "babylm3", "track": "10M"}, 0.055e9),
        ({"name": "babylm", "track": "100M"}, 0.55e9),
        ({"name": "hybrid_3.7B"}, 19e9),
    ],
)
def test_text_of_known_corpora(corpus: dict, text_bytes: float) -> None:
    """Text, and two bytes for every token of 3.5 to 5 bytes."""
    plan = make_plan(recipe(corpus=Corpus(**corpus)))
    assert text_bytes * 1.3 < plan.data_bytes < text_bytes * 1.75
    assert make_plan(recipe(corpus=Corpus(**corpus, paths=["mine.txt"]))).data_bytes is None


@pytest.mark.slow
def test_measured_hours(tmp_path: Path) -> None:
    """The estimate is what a run on this machine takes, as far as two short tries can agree."""
    path = write_recipe(tmp_path)
    words = ["model.hidden_size=128", "model.intermediate_size=512", "batch.sequence_length=128", "batch.tokens=2048"]
    words += [
        "corpus.epochs=20",
        "anchors.tokens=[80k]",
        "checkpoints.every_steps=null",
        "evaluation.weights=false",
        "batch.micro=4",
    ]
    plan = PlanDocument.model_validate_json(lmeff("plan", str(path), *words, "--measure", "--json").stdout)
    assert plan.micro_batch == 4
    assert plan.hours == pytest.approx(plan.trained_tokens / plan.tokens_per_second / 3600)
    finish(start(None, str(path), *words))
    speeds = [line["tokens_per_second"] for line in read_lines(run_folder(path) / "run.log.jsonl")][5:]
    assert statistics.median(speeds) / 3 < plan.tokens_per_second < statistics.median(speeds) * 3
    said = lmeff("plan", str(path), *words, "--measure").stdout
    assert "tokens/s: an estimate from" in said
    assert "random tokens in float32 on" in said


@given(st.integers(1, 64), st.integers(1, 8))
def test_the_batch_is_split_without_remainder(sequences: int, world_size: int) -> None:
    wanted = recipe(sequences * 128, length=128, anchors=("1G",))
    if sequences % world_size:
        with pytest.raises(InputError, match=r"batch\.tokens that do"):
            split_batch(wanted, world_size)
        return
    micro, accumulation = split_batch(wanted, world_size)
    assert micro * accumulation * world_size == sequences
    assert micro in micro_batches(wanted, world_size)


@given(st.integers(1, 64), st.integers(1, 8), st.integers(1, 600))
def test_a_micro_batch_that_was_found_is_cut_to_what_divides(share: int, world_size: int, found: int) -> None:
    wanted = recipe(share * world_size * 128, length=128, anchors=("1G",))
    micro, accumulation = split_batch(wanted, world_size, found)
    assert micro * accumulation == share
    assert micro == max(size for size in range(1, min(found, share) + 1) if not share % size)


def test_a_refused_batch_names_batches_that_work() -> None:
    with pytest.raises(InputError) as error:
        split_batch(recipe(64 * 128, length=128), 3)
    for tokens in (63 * 128, 66 * 128):
        assert str(tokens) in str(error.value)
        assert split_batch(recipe(tokens, length=128), 3)
    with pytest.raises(InputError, match=r"batch\.micro: 5 does not divide the 32 sequences .* 1, 2, 4, 8, 16, 32 do"):
        split_batch(recipe(64 * 128, length=128, micro=5), 2)


def test_warmup_in_every_unit() -> None:
    for text, steps in (("300 steps", 300), ("5M tokens", 39), (0.02, 306), ("0.02", 306), (0, 0)):
        assert make_plan(recipe(schedule=Schedule(warmup=text))).warmup_steps == steps
    with pytest.raises(InputError, match=r"schedule\.warmup: 20000 steps"):
        make_plan(recipe(schedule=Schedule(warmup="20k steps")))


def test_data_must_reach_the_last_anchor() -> None:
    wanted = recipe(1024, (0, "10k"), length=128, corpus=Corpus(name="x", epochs=2))
    check_data(wanted, 5_200)
    with pytest.raises(InputError, match=r"10k needs 2\.22 passes .* set corpus\.epochs=3"):
        check_data(wanted, 4_700)
    with pytest.raises(InputError, match="fewer than one sequence of 128"):
        check_data(wanted, 100)


def test_two_anchors_on_one_step_are_refused() -> None:
    with pytest.raises(InputError, match="25M and 25001k both fall on step 191"):
        plan_anchors(recipe(anchors=("25M", "25001k")))


def lmeff(*words: str) -> subprocess.CompletedProcess:
    return prepared.run([sys.executable, "-m", "lmeff.cli", *words], capture_output=True, text=True)


@pytest.mark.medium
def test_the_verb_prints_the_document_and_the_table() -> None:
    document = PlanDocument.model_validate(json.loads(lmeff("plan", "recipes/180m_hybrid.yaml", "--json").stdout))
    assert [anchor.step for anchor in document.anchors][:3] == [0, 191, 382]
    text = lmeff("plan", "recipes/180m_hybrid.yaml", "--gpu", "h100", "--mfu", "0.4", "--devices", "4").stdout
    for said in ("232,945,920 parameters", "25,034,752", "+34,752", "zero3", "25 min"):
        assert said in text


def test_sequences_are_said_where_they_are_not_the_default() -> None:
    assert "\nsequences " not in format_plan(make_plan(recipe()))
    batch = Batch(
        tokens=1024, packing="best_fit", document_mask=True, sequence_lengths={"0": 64, "1_600_000": 128, "5M": 256}
    )
    text = format_plan(make_plan(recipe(batch=batch)))
    wanted = "packed by best fit; documents do not see each other; lengths 64 from step 0, 128 from step 1,563, 256 from step"
    assert f"\nsequences  {wanted} 4,883\n" in text
    masked = make_plan(recipe(batch=Batch(tokens=1024, document_mask=True)))
    assert "\nsequences  documents do not see each other\n" in format_plan(masked)
    older = masked.model_dump(exclude={"packing", "document_mask", "length_stages"})
    assert "\nsequences " not in format_plan(PlanDocument.model_validate(older))


@pytest.mark.parametrize("family", OTHERS)
def test_the_plan_names_family_and_objective(family: str) -> None:
    plan = make_plan(recipe(model=Model.model_validate({"family": family, "size": "60m"}), micro=4))
    assert (plan.family, plan.objective) == (family, OTHERS[family])
    text = format_plan(plan)
    assert f"model      {family} ({OTHERS[family]}): {plan.parameters.total:,} parameters, " in text
    assert "; no weight decay on norms" in text
    halved = "the products within a chunk as causal" if family == "mamba2" else "causal attention"
    assert (f" counting {halved})" in text) == (plan.flops_per_token_causal != plan.flops_per_token)
    assert ("attention counted both ways" in text) == (OTHERS[family] != "causal")
    assert 40e6 < plan.parameters.non_embedding < 46e6, "about as many as Llama of that name"
    assert plan.memory["ddp"].activations > 0
    older = plan.model_dump(exclude={"family", "objective"})
    assert PlanDocument.model_validate(older).family == "llama"


@pytest.mark.parametrize("rows", [0.75, 0, 1])
def test_a_hybrid_counts_causal_attention_in_its_causal_rows(rows: float) -> None:
    plan = make_plan(recipe(objective=Objective(name="hybrid", masked_rows=rows), length=1024, micro=4))
    attention = 12 * 24 * 768 * 1024
    assert plan.flops_per_token - plan.flops_per_token_causal == (1 - rows) * attention / 2
    said = "counting causal attention, and both ways in masked rows)" if rows < 1 else ", attention counted both ways"
    assert f"{said}, {format_short(plan.total_flops)} in all" in format_plan(plan)


@pytest.mark.medium
def test_planning_needs_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; from lmeff.cli import main; main(['plan', 'recipes/180m_hybrid.yaml']);"
        "[main(['plan', 'recipes/180m_hybrid.yaml', f'model={{family: {family}, size: 60m}}', 'tokenizer.vocab_size=8k'])"
        f" for family in {sorted(OTHERS)}];"
        "del sys.modules['torch'];"
        "print(sorted({'torch', 'transformers', 'numpy', 'pandas'} & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.splitlines()[-1] == "[]"


def test_counts_in_its_tables_are_as_people_read_them() -> None:
    text = format_plan(make_plan(recipe(anchors=[0, 1_600_000, 25_000_000, 1_250_000_000]), tokens_per_second=161_000))
    anchors = [line.split()[0] for line in text.split("deviation\n")[1].split("\n\n")[0].splitlines()]
    assert anchors == ["0", "1.6M", "25M", "1.25B"]
    assert "161k tokens/s" in text
    assert [anchor.name for anchor in make_plan(recipe(anchors=[0, 1_250_000_000])).anchors][-1] == "1250M"
