"""From a sweep's file, or from lists on the command line, to cases: numbers, names, folders, repositories and mistakes."""

import json
from pathlib import Path

import pytest
from sweeps.study import RECIPE, SWEEP

from lmeff.cli.main import main
from lmeff.command_line import read_arguments
from lmeff.errors import InputError
from lmeff.quantities import format_short
from lmeff.sweeps.cases import Sweep, read_sweep


def read(text: str, *words: str) -> Sweep:
    Path("s.yaml").write_text(text)
    return read_sweep("s.yaml", words)


def names(sweep: Sweep) -> list[str]:
    return [f"{case.name} {case.seed}" for case in sweep.cases]


def mistakes(text: str, *words: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        read(text, *words)
    return list(caught.value.mistakes)


def test_cases_are_numbered_with_seeds_slowest(folder: Path) -> None:
    sweep = read(SWEEP)
    assert names(sweep) == [
        "hidden_size-32_few 0",
        "hidden_size-32_many 0",
        "hidden_size-64_few 0",
        "hidden_size-64_many 0",
        "hidden_size-32_few 1",
        "hidden_size-32_many 1",
        "hidden_size-64_few 1",
        "hidden_size-64_many 1",
    ]
    assert [case.index for case in sweep.cases] == list(range(8))
    case = sweep.case(7)
    assert str(case.run) == "outputs/study/hidden_size-64_many/seed-1"
    assert case.values == {"model.hidden_size": 64, "text": "many"}
    assert case.recipe.model.hidden_size == 64
    assert (case.recipe.corpus.synthetic.num_documents, case.recipe.corpus.epochs) == (200, 2)
    assert case.resolved.provenance["corpus.epochs"] == "s.yaml:8"
    assert case.resolved.provenance["model.hidden_size"] == "s.yaml:5"


def test_more_seeds_renumber_nothing_and_more_values_rename_nothing(folder: Path) -> None:
    before = read(SWEEP).cases
    after = read(SWEEP.replace("[0, 1]", "[0, 1, 2]")).cases
    assert [(case.index, case.run) for case in after[:8]] == [(case.index, case.run) for case in before]
    wider = read(SWEEP.replace("[32, 64]", "[48, 32, 64]")).cases
    assert {case.run for case in before} < {case.run for case in wider}


def test_lists_that_go_together_and_exclusions(folder: Path) -> None:
    sweep = read(
        SWEEP.replace("[0, 1]", "[3]")
        + """zip:
  - {optimizer.learning_rate: [1e-3, 3e-3], batch.tokens: [512, 1k]}
exclude:
  - {text: few, optimizer.learning_rate: 0.001}
  - {model.hidden_size: 64, batch.tokens: [512, 1024]}
""".replace("1k", "1024")
    )
    assert names(sweep) == [
        "hidden_size-32_few_learning_rate-0.003_tokens-1024 3",
        "hidden_size-32_many_learning_rate-0.001_tokens-512 3",
        "hidden_size-32_many_learning_rate-0.003_tokens-1024 3",
    ]
    assert [case.recipe.optimizer.learning_rate for case in sweep.cases] == [3e-3, 1e-3, 3e-3]


def test_values_that_are_written_otherwise_have_one_name(folder: Path) -> None:
    one, other = (
        read(f"sweep: s\nrecipe: base.yaml\naxes: {{batch.tokens: [{tokens}], optimizer.learning_rate: [{rate}]}}\n")
        for tokens, rate in (("3200", "0.003"), ("3.2k", "3e-3"))
    )
    assert names(one) == names(other) == ["tokens-3200_learning_rate-0.003 0"]


def test_names_are_folders_and_tell_values_apart(folder: Path) -> None:
    sweep = read(
        """sweep: s
recipe: base.yaml
axes:
  training.logging_steps: [1, 2]
  checkpoints.every_steps: [null, 10]
  deterministic: [true, false]
  publish.license: [a long license with spaces in its name 1, a long license with spaces in its name 2]
"""
    )
    assert len({case.name for case in sweep.cases}) == 16
    assert all(len(case.name) <= 56 and "--" not in case.name for case in sweep.cases)
    short = read("sweep: s\nrecipe: base.yaml\naxes: {publish.license: [mit, a/b, a-b]}\n")
    first, second, third = (case.name for case in short.cases)
    assert (first, third) == ("license-mit", "license-a-b")
    assert second.startswith("license-a-b-")


def test_keys_of_one_last_part_are_told_apart(folder: Path) -> None:
    sweep = read("sweep: s\nrecipe: base.yaml\naxes: {batch.tokens: [512], anchors.tokens: [[0, 5k], [0, 20k]]}\n")
    assert names(sweep) == ["batch.tokens-512_anchors.tokens-0-5k 0", "batch.tokens-512_anchors.tokens-0-20k 0"]


def test_lists_on_the_command_line_are_axes(folder: Path) -> None:
    sweep = read_sweep("base.yaml", ["seed=[0,1]", "optimizer.learning_rate=[1e-3,3e-3]", "anchors.tokens=[0,10k]"])
    assert [str(case.run) for case in sweep.cases] == [
        "outputs/base/learning_rate-0.001/seed-0",
        "outputs/base/learning_rate-0.003/seed-0",
        "outputs/base/learning_rate-0.001/seed-1",
        "outputs/base/learning_rate-0.003/seed-1",
    ]
    assert all(case.recipe.anchors.tokens == [0, 10_000] for case in sweep.cases)
    anchors = read_sweep("base.yaml", ["anchors.tokens=[[0,5k],[0,10k]]"])
    assert [case.recipe.anchors.tokens for case in anchors.cases] == [[0, 5000], [0, 10_000]]


def test_seeds_alone_are_the_runs_of_the_recipe_itself(folder: Path) -> None:
    assert [str(case.run) for case in read_sweep("base.yaml", ["seed=[4,5]"]).cases] == [
        "outputs/base/seed-4",
        "outputs/base/seed-5",
    ]


def test_words_narrow_and_override_a_sweep(folder: Path) -> None:
    sweep = read(SWEEP, "seed=7", "model.hidden_size=64", "batch.micro=4", "paths.outputs=there")
    assert [str(case.run) for case in sweep.cases] == [
        "there/study/hidden_size-64_few/seed-7",
        "there/study/hidden_size-64_many/seed-7",
    ]
    assert all(case.recipe.batch.micro == 4 for case in sweep.cases)
    [line] = mistakes(SWEEP, "corpus.epochs=3")
    said = "is set by the axis 'text' of s.yaml, together with other keys; text=NAME chooses one of its values"
    assert line == f"command line: corpus.epochs=3: {said}"


def test_words_choose_named_values(folder: Path) -> None:
    assert names(read(SWEEP, "text=many", "seed=1")) == ["hidden_size-32_many 1", "hidden_size-64_many 1"]
    [first, *_] = read(SWEEP, "text=[many, few]").cases
    assert (first.name, first.recipe.corpus.synthetic.num_documents) == ("hidden_size-32_many", 200)
    numbered = SWEEP.replace("few:", "1:").replace("many:", '"2.0":')
    assert names(read(numbered, "text=1", "seed=0")) == ["hidden_size-32_1 0", "hidden_size-64_1 0"]
    assert names(read(numbered, "text=2.0", "seed=0")) == ["hidden_size-32_2.0 0", "hidden_size-64_2.0 0"]
    [line] = mistakes(SWEEP, "text=fwe")
    assert line == "command line: text=fwe: 'fwe' is no value of the axis 'text'; did you mean 'few'?"


@pytest.mark.parametrize(
    ("file", "word", "said"),
    [
        ("s.yaml", "name=other", "a case is named by its values, and their folder by 'sweep:' in s.yaml"),
        ("base.yaml", "name=[a,b]", "a case is named by its values"),
        ("base.yaml", "paths.outputs=[a,b]", "all cases of a sweep are in one folder"),
        ("s.yaml", "paths.outputs=[a,b]", "all cases of a sweep are in one folder"),
        ("base.yaml", "extends=[base]", "files are extended in the recipe"),
    ],
)
def test_what_no_axis_can_be_is_refused_on_the_command_line(folder: Path, file: str, word: str, said: str) -> None:
    Path("s.yaml").write_text(SWEEP)
    with pytest.raises(InputError) as caught:
        read_sweep(file, [word])
    [line] = caught.value.mistakes
    assert line.startswith(f"command line: {word}: {said}")


def test_a_recipe_without_a_name_and_inputs_beside_the_sweep(folder: Path) -> None:
    (folder / "sweeps").mkdir()
    (folder / "sweeps" / "mine.txt").write_text("text")
    (folder / "nameless.yaml").write_text(RECIPE.replace("name: base\n", ""))
    text = "sweep: s\nrecipe: ../nameless.yaml\naxes: {text: {mine: {corpus.name: mine, corpus.paths: [mine.txt]}}}\n"
    (folder / "sweeps" / "s.yaml").write_text(text)
    [case] = read_sweep("sweeps/s.yaml").cases
    assert str(case.run) == "outputs/s/mine/seed-0"
    assert case.recipe.corpus.paths == ["sweeps/mine.txt"]


def test_cases_that_would_share_a_repository_get_their_names_into_it(folder: Path) -> None:
    text = """sweep: s
recipe: base.yaml
seeds: [0, 1]
axes:
  optimizer.learning_rate: [1e-3, 3e-3]
  tokenizer.vocab_size: [500, 600]
"""
    shared = {case.recipe.publish.repository for case in read(text).cases}
    assert len(shared) == 4
    assert "{corpus}-{size}-tok{vocab_size}-learning_rate-0.001_vocab_size-500" in shared
    apart = read(text.replace("  optimizer.learning_rate: [1e-3, 3e-3]\n", ""))
    assert {case.recipe.publish.repository for case in apart.cases} == {"{corpus}-{size}-tok{vocab_size}"}
    lines = mistakes(text, "publish.to=hub", "publish.namespace=me", "publish.repository=a..b")
    assert len(lines) == 4
    assert lines[0].startswith(
        "command line: publish.to=hub: publish.repository: 'me/a..b-learning_rate-0.001_vocab_size-500' is no"
    )


def repositories(text: str, *words: str) -> dict[str, str]:
    return {case.name: case.recipe.publish.repository for case in read(text, *words).cases}


@pytest.mark.medium
def test_the_repository_of_a_case_is_the_same_whichever_cases_are_read(folder: Path) -> None:
    text = """sweep: s
recipe: base.yaml
axes:
  optimizer.learning_rate: [1e-3, 3e-3]
  text:
    few: {corpus.name: few, corpus.paths: [few.txt]}
    many: {corpus.name: many, corpus.paths: [many.txt]}
"""
    full = repositories(text)
    for words in (["optimizer.learning_rate=3e-3"], ["text=many"], ["optimizer.learning_rate=[1e-3,5e-3]", "text=few"]):
        narrowed = repositories(text, *words)
        assert narrowed.keys() & full.keys()
        assert all(full.get(name, repository) == repository for name, repository in narrowed.items())
    # Of an axis that a name shows, and of one whose values differ in what it does not show.
    texts = text.replace("  optimizer.learning_rate: [1e-3, 3e-3]\n", "")
    assert set(repositories(texts).values()) == {"{corpus}-{size}-tok{vocab_size}"}
    alike = texts.replace("corpus.name: many", "corpus.name: few")
    assert repositories(alike, "text=many") == {"many": "{corpus}-{size}-tok{vocab_size}-many"}
    assert set(repositories(texts, "publish.repository=of-{vocab_size}").values()) == {
        "of-{vocab_size}-few",
        "of-{vocab_size}-many",
    }
    assert set(repositories(text, "publish.repository=of-{name}").values()) == {"of-{name}"}


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("sweep: study", "sweep: a/b", "s.yaml:1: sweep: must be letters, digits"),
        ("base.yaml", "bsae.yaml", "s.yaml:2: recipe: bsae.yaml: no such file; did you mean 'base.yaml'?"),
        ("recipe: base.yaml", "reciep: base.yaml", "s.yaml:2: reciep: unknown key; did you mean 'recipe'?"),
        ("[0, 1]", "3", "s.yaml:3: seeds: must be a list such as [0, 1, 2], not 3"),
        ("[0, 1]", "[0, 0]", "s.yaml:3: seeds.1: 0 is there twice"),
        ("[0, 1]", "[0, x]", "s.yaml:3: seed: must be a number such as 60k, 25M, 1.5B or 3e-4, not 'x'"),
        ("[32, 64]", "32", "s.yaml:5: axes.model.hidden_size: must be a list of values"),
        ("[32, 64]", "[]", "s.yaml:5: axes.model.hidden_size: needs at least one value"),
        ("[32, 64]", "[32, {a: 1}]", "s.yaml:5: axes.model.hidden_size: a value of several keys needs a name"),
        ("[32, 64]", "[32, 32.0]", "s.yaml:5: model.hidden_size: the cases 0 and 2 are the same"),
        (
            "many: {corpus.synthetic.num_documents: 200, corpus.epochs: 2}",
            "many: {corpus.synthetic.num_documents: 0.1k}",
            "s.yaml:8: axes.text.many: sets the same as 'few', so their cases would not differ",
        ),
        ("[32, 64]", "[32, wide]", "s.yaml:5: model.hidden_size: "),
        ("model.hidden_size", "modle.hidden_size", "s.yaml:5: modle: unknown key; did you mean 'model'?"),
        ("model.hidden_size", "seed", "s.yaml:5: axes.seed: seeds stand under 'seeds:'"),
        ("model.hidden_size", "corpus.epochs", "s.yaml:6: text: sets corpus.epochs, as the axis 'corpus.epochs' does"),
        (
            "{corpus.synthetic.num_documents: 100}",
            "100",
            "s.yaml:7: axes.text.few: must be the keys that this value sets",
        ),
        (
            "axes:",
            "exclude: [{txt: few}]\naxes:",
            "s.yaml:4: exclude.0.txt: is no axis of this sweep; did you mean 'text'?",
        ),
        ("axes:", "exclude: [{text: fwe}]\naxes:", "s.yaml:4: exclude.0.text: 'fwe' is none of the axis's values"),
        ("axes:", "exclude: [{text: [few, many]}]\naxes:", "s.yaml: exclude: leaves no case"),
        (
            "axes:",
            "zip: [{batch.tokens: [512], batch.micro: [1, 2]}]\naxes:",
            "s.yaml:4: zip.0: lists that go together must",
        ),
    ],
)
def test_a_mistake_names_file_line_and_axis(folder: Path, before: str, after: str, said: str) -> None:
    assert before in SWEEP
    found = mistakes(SWEEP.replace(before, after, 1))
    assert any(line.startswith(said) for line in found), found
    assert all("\n" not in line for line in found)


def test_rules_alone_make_no_sweep_of_a_recipe(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["plan", "base.yaml", "ranking.kill.at_tokens=[5k]"]) == 2
    assert "ranking" in (line := capsys.readouterr().err)
    assert "unknown key" in line


def test_plain_texts_with_names_are_one_mistake_each(folder: Path) -> None:
    text = "sweep: s\nrecipe: base.yaml\naxes: {corpus: {a: tinystories, b: babylm3}}\n"
    said = "must be the keys that this value sets, such as {corpus.name: ...}, not"
    found = mistakes(text)
    assert [line.partition(said)[0] for line in found] == ["s.yaml:3: axes.corpus.a: ", "s.yaml:3: axes.corpus.b: "]


@pytest.mark.parametrize("verb", [["plan"], ["train"], ["sweep", "list"]])
def test_a_sweep_without_a_name_is_no_recipe(folder: Path, capsys: pytest.CaptureFixture, verb: list[str]) -> None:
    (folder / "s.yaml").write_text(SWEEP.replace("sweep: ", "# ", 1))
    assert main([*verb, "s.yaml"]) == 2
    assert capsys.readouterr().err == "s.yaml: sweep: missing; the name of the sweep, and of its folder\n"


def test_a_mistake_of_some_cases_says_which(folder: Path) -> None:
    [line] = mistakes(SWEEP.replace("[32, 64]", "[32, 33]"))
    assert line.startswith("s.yaml:5: model.hidden_size: 33 is not a multiple of num_attention_heads")
    [line] = mistakes(SWEEP.replace("model.hidden_size: [32, 64]", "anchors.tokens: [[0, 20k], [0, 2k]]"))
    assert line.startswith("base.yaml:8: schedule.warmup: '5 steps' (5 steps) must end before the run does")
    assert line.endswith("(case tokens-0-2k_few and 1 more)")
    # What only the plan shows: the anchor is too early for the decay of its branch.
    anneal = "sweep: s\nrecipe: base.yaml\naxes: {anchors.mode: [snapshot, anneal], anchors.tokens: [[0, 512, 20k]]}\n"
    assert mistakes(anneal)[0].startswith("s.yaml:3: anchors.tokens: 512 is step 1, too early for a decay")


# ---- the commands


def test_the_numbers_and_json_of_a_list(folder: Path, capsys: pytest.CaptureFixture) -> None:
    Path("s.yaml").write_text(SWEEP)
    assert main(["sweep", "list", "s.yaml", "--last"]) == 0
    assert capsys.readouterr().out == "7\n"
    state = Path("outputs/study/hidden_size-32_many/seed-0/state.json")
    state.parent.mkdir(parents=True)
    known = {"format": 1, "step": 3, "tokens": 1536, "next_anchor": 5000, "pid": 1, "host": "h", "job": None}
    state.write_text(json.dumps(known | {"state": "failed", "error": "x", "updated": "2026-11-26T00:00:00+00:00"}))
    assert main(["sweep", "list", "s.yaml", "--json"]) == 0
    cases = json.loads(capsys.readouterr().out)["cases"]
    assert [case["state"] for case in cases] == ["new", "failed", *["new"] * 6]
    assert cases[1] == {
        "index": 1,
        "name": "hidden_size-32_many",
        "folder": "outputs/study/hidden_size-32_many/seed-0",
        "seed": 0,
        "state": "failed",
        "values": {"model.hidden_size": 32, "text": "many"},
    }


def test_show_is_a_recipe_that_reads_back(folder: Path, capsys: pytest.CaptureFixture) -> None:
    from lmeff.recipe import read_recipe

    Path("s.yaml").write_text(SWEEP)
    assert main(["sweep", "show", "s.yaml", "6"]) == 0
    Path("case.yaml").write_text(capsys.readouterr().out)
    assert read_recipe("case.yaml").recipe == read_sweep("s.yaml").case(6).recipe
    assert main(["sweep", "show", "s.yaml", "8"]) == 2
    assert capsys.readouterr().err == "s.yaml: there is no case 8; it has 8 cases, 0 to 7\n"


def test_a_run_takes_a_case_by_its_number(folder: Path) -> None:
    Path("s.yaml").write_text(SWEEP)
    command = read_arguments(["s.yaml", "--index", "5", "batch.micro=2"])
    assert str(command.folder) == "outputs/study/hidden_size-32_many/seed-1"
    assert command.recipe.batch.micro == 2
    listed = read_arguments(["base.yaml", "seed=[3,4]", "--index", "1"])
    assert str(listed.folder) == "outputs/base/seed-4"
    for words, said in (
        (["s.yaml"], "s.yaml: 8 cases; say with --index N which one to run, 0 to 7"),
        (["s.yaml", "--index", "8"], "--index 8: there is 0 hidden_size-32_few"),
        (["s.yaml", "--index", "0", "--part", "1"], "--part 1: a run with anchors.mode 'snapshot' has no parts"),
        (["s.yaml", "base.yaml", "--index", "0"], "s.yaml:1: sweep: this file is a sweep of recipes"),
    ):
        with pytest.raises(InputError, match=said.replace("'", ".").replace("(", ".")):
            read_arguments(words)


def test_a_case_in_parts_is_run_whole_or_by_part(folder: Path) -> None:
    words = ["base.yaml", "seed=[0,1]", "anchors.mode=restart", "--index", "1"]
    assert str(read_arguments(words).folder) == "outputs/base/seed-1"
    assert str(read_arguments([*words, "--part", "1"]).folder) == "outputs/base/seed-1/parts/20k"
    assert str(read_arguments([*words[:1], *words[2:]]).folder) == "outputs/base/seed-0/parts/20k"


@pytest.mark.medium
def test_the_plan_says_where_budgets_lead_to_one_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    budget = "{budget: {parameters: 60k, embedding_share: 0.3, multiple_of: 4}}"
    shape = "{hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 2}"
    Path("base.yaml").write_text(RECIPE.replace(shape, budget))
    Path("s.yaml").write_text(
        SWEEP.replace("model.hidden_size: [32, 64]", "model.budget.embedding_share: [0.3, 0.31, 0.5]")
    )
    assert main(["plan", "s.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == [
        f"embedding_share-0.3_{text}, embedding_share-0.31_{text} are one model: their budgets lead to the same shape"
        for text in ("few", "many")
    ]


def test_the_plan_of_a_sweep_adds_up_and_counts_what_is_shared_once(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    Path("s.yaml").write_text(SWEEP)
    speed = ["--tokens-per-second", "1000"]
    assert main(["plan", "s.yaml", "--json", *speed]) == 0
    plan = json.loads(capsys.readouterr().out)
    alone = []
    for index in range(8):
        main(["sweep", "show", "s.yaml", str(index)])
        Path("case.yaml").write_text(capsys.readouterr().out)
        main(["plan", "case.yaml", "--json", *speed])
        alone.append(json.loads(capsys.readouterr().out))
    assert [case["plan"] for case in plan["cases"]] == alone
    assert plan["total_flops"] == sum(one["total_flops"] for one in alone)
    assert plan["hours"] == pytest.approx(8 * 40 * 512 / 1000 / 3600)
    assert plan["shared"]["num_texts"] == plan["shared"]["num_tokenizers"] == 2
    assert plan["data_bytes"] == alone[0]["data_bytes"] + alone[1]["data_bytes"]
    models = sum(one["disk_bytes"] - one["data_bytes"] for one in alone)
    assert plan["disk_bytes"] == models + plan["data_bytes"]
    assert main(["plan", "s.yaml"]) == 0
    shown = capsys.readouterr().out
    assert "study: 8 cases, 4 x 2 seeds" in shown
    assert "2 texts (synthetic, synthetic) and 2 tokenizers with tokens, each prepared once" in shown


@pytest.mark.medium
def test_the_plan_of_a_sweep_counts_what_methods_compute_and_keep(folder: Path, capsys: pytest.CaptureFixture) -> None:
    (folder / "teacher").mkdir()
    shape = {"vocab_size": 500, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    config = shape | {"model_type": "llama", "num_attention_heads": 2, "max_position_embeddings": 64}
    (folder / "teacher" / "config.json").write_text(json.dumps(config))
    (folder / "teacher" / "model.safetensors").write_bytes(b"")
    Path("s.yaml").write_text(SWEEP.replace("[32, 64]", "[32]"))

    def plan(file: str, *words: str) -> dict:
        assert main(["plan", file, "--json", *words]) == 0
        return json.loads(capsys.readouterr().out)

    scored = ["curriculum.protocol=iterative", "curriculum.order=own_loss", "curriculum.look_every=1k"]
    asked = ["distillation.teachers=[teacher]"]
    kept = [*asked, "distillation.cache.kind=top_k"]
    alone = []
    for index in range(2):  # whose costs the other seed's are, too
        main(["sweep", "show", "s.yaml", str(index)])
        Path("case.yaml").write_text(capsys.readouterr().out)
        alone.append([plan("case.yaml", *words) for words in (scored, asked, kept)])
    of_scored = plan("s.yaml", *scored)
    assert of_scored["flops_scoring"] == 2 * sum(one[0]["flops_scoring"] for one in alone) > of_scored["total_flops"]
    assert "flops_teachers" not in of_scored
    assert plan("s.yaml", *asked)["flops_teachers"] == 2 * sum(one[1]["flops_teachers"] for one in alone) > 0
    # Two texts, so two places for all that the teacher says, whatever model learns from it and with which seed.
    of_kept = plan("s.yaml", *kept)
    assert of_kept["teacher_cache_bytes"] == sum(one[2]["teacher_cache_bytes"] for one in alone)
    assert of_kept["flops_teachers"] == sum(one[2]["flops_teachers"] for one in alone)
    assert of_kept["disk_bytes"] - plan("s.yaml", *asked)["disk_bytes"] == of_kept["teacher_cache_bytes"]
    assert main(["plan", "s.yaml", *scored]) == 0
    assert f"scoring    {format_short(of_scored['flops_scoring'])} FLOPs beside that" in capsys.readouterr().out


# ---- the sweeps that come with lmeff

SHIPPED = Path(__file__).parents[2] / "recipes" / "sweeps"
NUM_CASES = {
    "allocation_factor": 4 * 3,
    "allocation_share": 3 * 3,
    "allocation_vocabulary": 4 * 3,
    "babyllama": 8 * 3,
    "babyllama_students": 4 * 3,
    "learning_curves": 3 * 3 * 4 * 3,
    "learning_curves_published": 3 * (2 + 4) * 3,
    "tinyhelen": 5 * 6,
    "tinyhelen_curriculum": 6 * 3,
}


@pytest.mark.medium
@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_sweep_is_right_and_named_after_its_file(path: Path) -> None:
    sweep = read_sweep(str(path))
    assert sweep.name == path.stem
    assert len(sweep.cases) == NUM_CASES[path.stem]
    row = next(
        line for line in (SHIPPED.parent / "README.md").read_text().splitlines() if f"`sweeps/{path.name}`" in line
    )
    num_designs = len(sweep.cases) // len(sweep.seeds)
    assert str(num_designs) in row.split("|")[3]


@pytest.mark.medium
def test_the_published_curves_have_the_published_batches_and_the_corrected_ones_equal_steps() -> None:
    published = read_sweep(str(SHIPPED / "learning_curves_published.yaml")).cases
    batches = {(case.recipe.model.size, case.recipe.batch.tokens) for case in published}
    assert batches == {("20m", 16_384), ("60m", 65_536), ("180m", 131_072)}
    designs = {
        (case.recipe.corpus.name, case.recipe.model.size, case.recipe.tokenizer.vocab_size) for case in published
    }
    assert {vocab for corpus, size, vocab in designs if size != "60m" and corpus == "hybrid_3.7B"} == {50_257}
    assert {vocab for corpus, size, vocab in designs if size != "60m" and corpus != "hybrid_3.7B"} == {16_000}
    corrected = read_sweep(str(SHIPPED / "learning_curves.yaml")).cases
    assert {case.recipe.batch.tokens for case in corrected} == {65_536}
    assert all(len([tokens for tokens in case.recipe.anchors.tokens if tokens]) == 12 for case in corrected)
    assert len({case.recipe.publish.repository for case in corrected}) == 1, (
        "corpus, size and vocabulary tell them apart"
    )
