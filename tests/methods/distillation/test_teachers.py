"""Which teachers fit a student, what they are given, and what is said of those that do not fit."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from methods.distillation.small import recipe_of, save_teacher, small_tokens, write_small

from lmeff.errors import InputError
from lmeff.formats.plan import PlanDocument
from lmeff.methods import check_methods, method_costs, methods_of, tried_methods
from lmeff.methods.distillation.asked import AskedTeachers
from lmeff.methods.distillation.sources import TeacherSource, sources_of
from lmeff.models.loading import load_language_model
from lmeff.objectives import Pieces, objective_of
from lmeff.plan import make_plan
from lmeff.plan.gpus import Gpu
from lmeff.plan.memory import largest_fitting
from lmeff.plan.text import format_plan
from lmeff.probes.memory import probe_memory
from lmeff.probes.speed import measure_speed
from lmeff.tokens import BOS_ID

GPT2 = ("model={family: gpt2, hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2}",)
MAMBA = ("model={family: mamba2, hidden_size: 16, num_hidden_layers: 1, head_dim: 8, state_size: 8}",)
HYBRID = ("objective.name=hybrid",)
MODERN = (
    "{family: modernbert, hidden_size: 16, intermediate_size: 32, num_hidden_layers: LAYERS, num_attention_heads: 2"
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_small(tmp_path_factory.mktemp("teachers"))
    family = path.with_name("gpt2.yaml")
    family.write_text(re.sub(r"model: \{.*\}", GPT2[0].replace("=", ": ", 1), path.read_text()))
    mamba = path.with_name("mamba.yaml")
    mamba.write_text(re.sub(r"model: \{.*\}", MAMBA[0].replace("=", ": ", 1), path.read_text()))
    save_teacher(path.with_name("llama"), path, "seed=2")
    save_teacher(path.with_name("gpt2"), family)
    save_teacher(path.with_name("mamba2"), mamba)
    save_teacher(path.with_name("hybrid"), path, *HYBRID, add_bos=True)
    return path


def taught(path: Path, *teachers: str, words: tuple[str, ...] = ()) -> tuple[str, ...]:
    return (f"distillation.teachers=[{', '.join(str(path.with_name(one)) for one in teachers)}]", *words)


def start(path: Path, *words: str) -> None:
    """What a run does of it before it trains."""
    recipe = recipe_of(path, *words)
    check_methods(recipe)
    methods_of(recipe, small_tokens(path))


def mistake(path: Path, *words: str) -> str:
    with pytest.raises(InputError) as error:
        start(path, *words)
    assert len(error.value.mistakes) == 1
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.medium
def test_teachers_of_any_family_are_given_what_the_student_is(path: Path) -> None:
    """Documents that are kept apart: of each the teachers say what they say of it alone."""
    words = ("batch.document_mask=true", "training.bf16=false")
    recipe = recipe_of(path, *taught(path, "llama", "gpt2", "hybrid", words=words))
    check_methods(recipe)
    rows = np.array([[BOS_ID, 7, 8, 9, 10, 11, BOS_ID, 20, 21, 22, 23, 24]])
    begins = rows == BOS_ID
    given = objective_of(recipe).inputs(Pieces(rows, begins, np.array([0]), True, 0, [0]))
    of_model = {name: value for name, value in given.items() if name != "targets"}
    teachers = AskedTeachers(recipe, sources_of(recipe))
    said = teachers.for_inputs(of_model)
    assert [one.shape[-1] for one in said.values()] == [320, 320, 321]
    for number, name in enumerate(("llama", "gpt2", "hybrid")):
        model = load_language_model(path.with_name(name)).eval()
        with torch.no_grad():
            alone = [model(input_ids=torch.from_numpy(rows[:, part])).logits for part in (slice(6), slice(6, 12))]
        assert torch.allclose(said[str(number)], torch.cat(alone, 1), atol=1e-5)
    models = teachers.models(torch.device("cpu"))
    assert not any(model.training or one.requires_grad for model in models for one in model.parameters())


@pytest.mark.medium
def test_a_teacher_that_cannot_teach_is_one_line(path: Path) -> None:
    gone = mistake(path, *taught(path, "nobody"))
    assert re.search(r"^distillation\.teachers: .*nobody: no such folder; the teacher has to be trained first$", gone)
    assert "no model folder with a config.json and weights" in mistake(path, *taught(path, "data"))
    apart = mistake(path, *taught(path, "mamba2", words=("batch.document_mask=true",)))
    assert "a mamba2 does not keep documents apart as a llama does" in apart
    assert "a mamba2 cannot teach the objective 'hybrid'" in mistake(path, *taught(path, "mamba2", words=HYBRID))
    long = mistake(path, *taught(path, "llama", words=("batch.sequence_length=64", "batch.tokens=256")))
    assert "it takes 32 tokens, and batch.sequence_length is 64" in long
    assert "it has 320 entries, and the student 321, with `<mask>`: a teacher of the objective 'hybrid' was" in mistake(
        path, *taught(path, "llama", words=HYBRID)
    )
    for words, entries in (((), 310), (HYBRID, 311)):
        assert f"it has 320 entries, and the student {entries}: it has another tokenizer" in mistake(
            path, *taught(path, "llama", words=(*words, "tokenizer.vocab_size=310"))
        )


@pytest.mark.medium
def test_local_layers_see_as_far_as_the_students(path: Path) -> None:
    """With documents kept apart teachers are given the student's masks, and would be other models than were trained."""

    def written(name: str, layers: int, window: int) -> Path:
        recipe = path.with_name(f"{name}.yaml")
        model = f"model: {MODERN.replace('LAYERS', str(layers))}, local_attention: {window}}}"
        recipe.write_text(re.sub(r"model: \{.*\}", model, path.read_text()))
        return recipe

    save_teacher(path.with_name("wide"), written("wide_model", 2, 16))
    save_teacher(path.with_name("whole"), written("whole_model", 1, 16))  # its first and only layer sees all
    student = written("student", 2, 4)
    apart = ("batch.document_mask=true",)
    told = mistake(student, *taught(path, "wide", words=apart))
    assert "its local layers see 8 tokens on each side, and the student's 2; with batch.document_mask" in told
    start(student, *taught(path, "wide"))
    start(student, *taught(path, "whole", words=apart))
    start(student, *taught(path, "wide", words=(*apart, "model.local_attention=16")))


@pytest.mark.medium
def test_a_name_of_the_hub_without_a_commit_is_no_model_of_the_hub(path: Path) -> None:
    """It may be a folder that is still to come, and is never asked for."""
    words = ("distillation.teachers=[HuggingFaceTB/SmolLM2-135M]",)
    advice = "a model of the Hub is named with its commit: HuggingFaceTB/SmolLM2-135M@COMMIT)"
    assert mistake(path, *words).endswith(f"the teacher has to be trained first ({advice}")
    (note,) = method_costs(recipe_of(path, *words)).notes
    assert note.endswith(f"is not known before HuggingFaceTB/SmolLM2-135M is there ({advice}")
    commit = "HuggingFaceTB/SmolLM2-135M@" + 40 * "a"
    assert TeacherSource(commit).is_on_hub
    assert TeacherSource(commit).as_commit == TeacherSource("a/b/c").as_commit == ""


@pytest.mark.medium
def test_tokenizers_are_compared_by_what_they_do(path: Path, tmp_path: Path) -> None:
    ours = small_tokens(path).tokenizer_folder
    for name in ("llama", "gpt2", "hybrid"):  # the last has `<mask>` and adds `<s>`
        TeacherSource(str(path.with_name(name))).check_tokenizer(ours)
    content = json.loads((path.with_name("llama") / "tokenizer.json").read_text())
    content["model"]["merges"] = [" ".join(merge) for merge in content["model"]["merges"]]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content, indent=7))
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    source = TeacherSource(str(tmp_path))
    source.check_tokenizer(ours)
    vocabulary = content["model"]["vocab"]
    names = {number: token for token, number in vocabulary.items()}
    vocabulary[names[300]], vocabulary[names[310]] = 310, 300
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(
        InputError, match=r"entry 300 of this run, is 310 there \(2 differ\); a teacher needs the run's own$"
    ):
        source.check_tokenizer(ours)
    unigram = content | {"model": {"type": "Unigram", "vocab": [["<unk>", 0.0], ["a", -1.5]]}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(unigram))
    with pytest.raises(
        InputError, match=r"another tokenizer: its vocabulary is no table of tokens and entries; a teacher"
    ):
        source.check_tokenizer(ours)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"has no tokenizer\.json"):
        source.check_tokenizer(ours)


@pytest.mark.medium
def test_a_teacher_is_known_by_its_content(path: Path, tmp_path: Path) -> None:
    teacher, other = path.with_name("llama"), path.with_name("hybrid")
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for file in teacher.iterdir():
        (moved / file.name).write_bytes(file.read_bytes())
    config = json.loads((moved / "config.json").read_text())
    (moved / "config.json").write_text(json.dumps(config | {"transformers_version": "4.46", "_name_or_path": "x"}))
    assert TeacherSource(str(moved)).sha256 == TeacherSource(str(teacher)).sha256
    assert TeacherSource(str(other)).sha256 != TeacherSource(str(teacher)).sha256
    (moved / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.1}))
    assert TeacherSource(str(moved)).sha256 != TeacherSource(str(teacher)).sha256


@pytest.mark.medium
def test_what_teachers_cost_is_planned(path: Path) -> None:
    """In every step, and once for all the text; what is not there is said."""
    asked = recipe_of(path, *taught(path, "llama", "gpt2"))
    forward = sum(source.family.forward_flops_per_token(32) for source in sources_of(asked))
    assert forward == 2 * (2 * (4 * 16 * 16 + 3 * 16 * 32) + 320 * 16) + 4 * 2 * 16 * 32 + (
        2 * (12 * 16 * 16 + 320 * 16) + 4 * 16 * 32
    )
    assert (
        method_costs(asked).flops_teachers
        == make_plan(asked, costs=method_costs(asked)).flops_teachers
        == 1024 * forward
    )
    words = ("distillation.cache={kind: top_k, k: 64}", "anchors.tokens=[4096]")
    kept = recipe_of(path, *taught(path, "llama", "gpt2", words=words))
    method = methods_of(kept, tokens := small_tokens(path))[0]
    positions = tokens.train.num_tokens // 32 * 32
    assert method.costs().flops_teachers == method.flops(0)["flops_teachers"] == positions * forward
    assert method.costs().teacher_cache_bytes == positions * (64 * 4 + 4)
    before = method_costs(kept)
    size = path.with_name("stories.jsonl").stat().st_size
    # Estimated before there are tokens: 0.45 x log2(320) - 2.2 bytes for each.
    assert before.teacher_cache_bytes == pytest.approx(size / 1.5447 * (64 * 4 + 4), rel=1e-3)
    assert before.flops_teachers == pytest.approx(size / 1.5447 * forward, rel=1e-3)
    for costs in (method_costs(asked), method.costs()):
        recipe = asked if costs.teacher_cache_bytes is None else kept
        timed = make_plan(recipe, mfu=0.4, gpu="h100", costs=costs)
        assert timed.hours == pytest.approx((timed.total_flops + (costs.flops_teachers or 0)) / 0.4 / 989.4e12 / 3600)
    plan = make_plan(kept, costs=method.costs())
    assert plan.disk_bytes - make_plan(kept).disk_bytes == plan.teacher_cache_bytes
    away = method_costs(recipe_of(path, *taught(path, "llama", "nobody")))
    assert away.flops_teachers is None
    assert len(away.notes) == 1
    assert re.search(r"and the memory they take, is not known before .*nobody is there$", away.notes[0])
    unused = recipe_of(path, *taught(path, "llama", words=("distillation.alpha=1",)))
    assert method_costs(unused) == method_costs(recipe_of(path))
    assert methods_of(unused, tokens) == ()


@pytest.mark.medium
def test_memory_of_teachers_that_are_asked_is_planned(path: Path) -> None:
    """Their weights in the precision of the run, on every device, and their logits beside the student's."""
    free = ("batch.micro=auto", "training.bf16=false")
    plain = recipe_of(path, *free)
    asked = recipe_of(path, *taught(path, "llama", "gpt2", words=free))
    weights = sum(source.family.count_parameters().total for source in sources_of(asked))
    stored = sum(
        one.numel() for name in ("llama", "gpt2") for one in load_language_model(path.with_name(name)).parameters()
    )
    assert weights == stored
    costs = method_costs(asked)
    plans = [make_plan(one, world_size=2, micro_batch=4, costs=method_costs(one)) for one in (plain, asked)]
    for engine, before in plans[0].memory.items():
        after = plans[1].memory[engine]
        assert after.states - before.states == weights * 4
        assert after.logits - before.logits == 4 * 32 * (320 + 320) * 4
        assert after.total - before.total == after.states - before.states + after.logits - before.logits
    assert [line.endswith("in float32, with its teachers:") for line in map(memory_title, plans)] == [False, True]
    family, room = sources_of(asked)[0].family, plans[0].memory["ddp"].total
    gpu = Gpu(1.0, room / 0.9e9 + 1e-9)
    assert largest_fitting(plain, family, 1, gpu, half=False) == 4
    assert largest_fitting(asked, family, 1, gpu, half=False, costs=costs) < 4
    if not torch.cuda.is_available():
        peaks = [probe_memory(one).peak_bytes for one in (plain, asked)]
        assert {size: peaks[1][size] - peaks[0][size] for size in (1, 8)} == {
            size: weights * 4 + size * 32 * 640 * 4 for size in (1, 8)
        }
    kept = recipe_of(path, *taught(path, "llama", words=("distillation.cache.kind=top_k",)))
    assert (method_costs(kept).teacher_parameters, tried_methods(kept), tried_methods(plain)) == (0, (), ())


def memory_title(plan: PlanDocument) -> str:
    (line,) = (line for line in format_plan(plan).splitlines() if line.startswith("estimated memory"))
    return line


@pytest.mark.medium
def test_a_step_is_tried_with_its_teachers(path: Path) -> None:
    """Before there is any text."""
    recipe = recipe_of(path, *taught(path, "llama", "gpt2", words=("paths.data=nowhere",)))
    (method,) = tried_methods(recipe)
    objective = method.wrap_tried_objective(objective_of(recipe))
    rows = np.full((2, 32), 7)
    given = objective.prepare(objective.inputs(Pieces(rows, rows < 0, np.arange(2), False, 0, [0, 1])))
    assert [one.shape for one in given["targets"]["teacher"].values()] == [(2, 32, 320), (2, 32, 320)]
    losses = objective.losses(torch.zeros(2, 32, 320), given["targets"], torch.tensor(62.0))
    assert losses["teacher"] > 0


@pytest.mark.medium
@pytest.mark.skipif(
    torch.cuda.is_available(), reason="a GPU tries micro-batches before, and asks the teachers for that"
)
def test_a_measured_step_has_its_teachers(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a run's has: where they are asked in every step, and are there."""
    asked, ask = list[int](), AskedTeachers.for_inputs
    monkeypatch.setattr(AskedTeachers, "for_inputs", lambda *given: [asked.append(1), ask(*given)][1])
    # (the recipe's further words, what is beside the measured steps, whether teachers are asked)
    cases: list[tuple[tuple[str, ...], tuple[str, ...], bool]] = [
        (taught(path, "llama", "gpt2"), (), True),
        (taught(path, "llama", words=("distillation.cache.kind=top_k",)), ("teachers",), False),
        (taught(path, "still to be trained"), ("teachers",), False),
        ((), (), False),
    ]
    for words, beside, are_asked in cases:
        asked.clear()
        speed = measure_speed(recipe_of(path, *words, "paths.data=nowhere"), max_seconds=0.01)
        assert speed.on_top == (*beside, "anchors", "evaluation")
        assert len(asked) == (speed.num_steps + 1 if are_asked else 0)
