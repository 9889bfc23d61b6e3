"""Reading run folders: finding them, half-written and repeated logs, the final revision, damaged files."""

import json
import shutil

import pandas as pd
import pytest

from lmeff.analysis import read_runs
from lmeff.analysis.reading.pairs import count_ties, read_pairs
from lmeff.analysis.statistics.pair_scores import tie_rate
from lmeff.errors import InputError


def record(step: int, loss: float) -> str:
    return json.dumps(
        {
            "step": step, "tokens": step * 1000, "epoch": 0.1, "loss": loss, "grad_norm": 1.0, "learning_rate": 1e-3,
            "tokens_per_second": None, "num_loss_tokens": step, "num_skipped_steps": 0,
            "time": "2026-11-22T14:40:00+00:00",
        }
    )  # fmt: skip


def logged(folder) -> dict[int, float]:
    return {record.step: record.loss for record in read_runs([folder])[0].log}


def test_runs_are_found_at_and_under_a_path_and_each_only_once(fake_run):
    first = fake_run(name="one", seed=0, num_pairs=2)
    fake_run(name="one", seed=1, num_pairs=2)
    fake_run(name="two", seed=0, num_pairs=2)
    (first / "parts" / "trunk").mkdir(parents=True)
    shutil.copy(first / "state.json", first / "parts" / "trunk" / "state.json")
    outputs = first.parents[1]
    names = [(run.name, run.seed) for run in read_runs([outputs])]
    assert names == [("one", 0), ("one", 1), ("two", 0)]
    assert [run.folder for run in read_runs([first])] == [first]
    assert [(run.name, run.seed) for run in read_runs([outputs / "two", outputs, first])] == [
        ("two", 0),
        ("one", 0),
        ("one", 1),
    ]


def test_a_run_knows_what_it_is(finished_run):
    run = read_runs([finished_run])[0]
    assert (run.name, run.seed, run.corpus, run.size, run.vocab_size) == (
        "180m_hybrid",
        0,
        "hybrid_3.7B",
        "180m",
        50257,
    )
    assert run.num_parameters == 232_930_560
    assert run.tokens == 15259 * 131_072
    assert run.headline_tasks == ("lmeff_blimp",)
    assert len(run.paradigms("lmeff_blimp")) == 67
    assert run.level("lmeff_blimp_binding") == "phenomenon"
    assert run.level("lmeff_blimp_passive_1") == "paradigm"


def test_without_a_named_size_the_parameter_count_stands_for_it(fake_run):
    folder = fake_run(num_pairs=2)
    recipe = folder / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("size: 180m", "hidden_size: 768"))
    assert read_runs([folder])[0].size == "233M"


def test_a_folder_without_a_recipe_is_named_after_its_place(fake_run):
    folder = fake_run(name="nameless", seed=3, num_pairs=2)
    (folder / "recipe.yaml").unlink()
    run = read_runs([folder])[0]
    assert (run.name, run.seed, run.corpus, run.vocab_size) == ("nameless", 3, None, None)


def test_every_wrong_path_gets_its_own_line(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError) as error:
        read_runs([tmp_path / "gone", tmp_path / "empty", tmp_path / "file"])
    lines = str(error.value).splitlines()
    assert len(lines) == 3
    assert "gone: no such folder" in lines[0]
    assert "empty: no run here" in lines[1]
    assert "file: not a folder" in lines[2]


def test_the_final_revision_is_no_second_point(finished_run):
    run = read_runs([finished_run])[0]
    assert (finished_run / "revisions" / "seed-0" / "anchor.json").exists()
    assert [anchor.revision for anchor in run.anchors][-1] == "seed-0-tokens-2000M"
    assert len({anchor.document.exact_tokens for anchor in run.anchors}) == len(run.anchors) == 9


def test_results_of_the_final_revision_count_for_the_anchor_it_equals(fake_run):
    folder = fake_run(num_pairs=4)
    shutil.move(folder / "results" / "seed-0-tokens-2000M", folder / "results" / "seed-0")
    last = read_runs([folder])[0].anchors[-1]
    assert last.revision == "seed-0-tokens-2000M"
    assert "lmeff_blimp" in last.results.tasks
    assert len(last.pairs) == 67 * 4


def test_a_final_model_that_trained_on_is_a_point_of_its_own(fake_run):
    folder = fake_run(num_pairs=2)
    path = folder / "revisions" / "seed-0" / "anchor.json"
    anchor = json.loads(path.read_text())
    path.write_text(json.dumps({**anchor, "same_as": None, "exact_tokens": anchor["exact_tokens"] + 131_072}))
    assert read_runs([folder])[0].anchors[-1].revision == "seed-0"


def test_a_revision_that_is_being_written_is_not_read(fake_run):
    folder = fake_run(num_pairs=2)
    aside = folder / "revisions" / ".seed-0-tokens-9M.0123abcd.tmp"
    aside.mkdir()
    (aside / "anchor.json").write_text("{")
    assert len(read_runs([folder])[0].anchors) == 9


def test_half_a_last_line_of_the_log_is_left_out(fake_run):
    folder = fake_run(num_pairs=2)
    path = folder / "run.log.jsonl"
    path.write_text(record(1, 9.0) + "\n" + record(2, 8.0) + "\n" + record(3, 7.0)[:30])
    assert logged(folder) == {1: 9.0, 2: 8.0}
    path.write_bytes(path.read_bytes() + b"\xff")
    assert logged(folder) == {1: 9.0, 2: 8.0}


def test_a_resumed_log_that_goes_on_in_half_a_line_loses_only_that_line(fake_run):
    folder = fake_run(num_pairs=2)
    lines = [record(1, 9.0), record(2, 8.0)[:25] + record(2, 8.0), record(3, 7.0)]
    (folder / "run.log.jsonl").write_text("\n".join(lines) + "\n")
    assert logged(folder) == {1: 9.0, 3: 7.0}


def test_steps_done_again_after_a_resume_replace_all_from_there_on(fake_run):
    folder = fake_run(num_pairs=2)
    steps = [(1, 9.0), (2, 8.0), (3, 7.0), (4, 6.0), (2, 8.5), (3, 7.5)]
    (folder / "run.log.jsonl").write_text("".join(record(*each) + "\n" for each in steps))
    assert logged(folder) == {1: 9.0, 2: 8.5, 3: 7.5}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("state.json", '{"format": 1}', "state.json: state: Field required"),
        ("plan.json", "{", "plan.json: not readable as JSON"),
        ("recipe.yaml", "name: [", "recipe.yaml: not readable as YAML"),
        ("revisions/seed-0-tokens-25M/anchor.json", '{"format": 2}', "anchor.json: format"),
        ("results/seed-0-tokens-25M/lmeff_blimp.json", "{}", "lmeff_blimp.json: not an lm-eval result"),
        ("results/seed-0-tokens-25M/lmeff_blimp.json", "[]", "lmeff_blimp.json"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(fake_run, name, content, words):
    folder = fake_run(num_pairs=2)
    (folder / name).write_text(content)
    with pytest.raises(InputError) as error:
        read_runs([folder])
    assert words in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_score_that_is_not_a_number_is_an_error(fake_run):
    folder = fake_run(num_pairs=2)
    path = folder / "results" / "seed-0-tokens-25M" / "lmeff_blimp.json"
    path.write_text(path.read_text().replace('"acc,none": 0.', '"acc,none": NaN, "x": 0.'))
    with pytest.raises(InputError, match="acc is nan"):
        read_runs([folder])

    pairs = folder / "results" / "seed-0-tokens-50M" / "pairs" / "lmeff_blimp.parquet"
    frame = pd.read_parquet(pairs)
    frame.loc[0, "score"] = float("nan")
    frame.to_parquet(pairs)
    shutil.rmtree(path.parent)
    with pytest.raises(InputError, match="a score is NaN"):
        _ = read_runs([folder])[0].anchor("50M").pairs
    pairs.write_bytes(b"nothing")
    with pytest.raises(InputError, match="not readable as scores"):
        _ = read_runs([folder])[0].anchor("50M").pairs


def test_an_anchor_is_found_by_name_or_tokens(finished_run):
    run = read_runs([finished_run])[0]
    assert run.anchor("25M") is run.anchor(25_000_000) is run.anchor("seed-0-tokens-25M") is run.anchors[1]
    with pytest.raises(InputError, match="no anchor '26M'; it has 0, 25M"):
        run.anchor("26M")


def test_pairs_of_several_files_are_told_apart_by_task_and_number(tmp_path):
    columns = ["task", "pair", "score", "item"]
    first = pd.DataFrame([("b", 0, 1.0, 0), ("b", 1, 0.5, 0), ("a", 0, 0.0, 0)], columns=columns)
    second = pd.DataFrame([("a", 0, 1.0), ("c", 5, 0.5), ("c", 6, 0.5)], columns=columns[:3])
    paths = [tmp_path / "1.parquet", tmp_path / "2.parquet"]
    first.to_parquet(paths[0])
    second.astype({"pair": "int32"}).to_parquet(paths[1])
    found = read_pairs(paths)
    assert found.astype({"task": str}).to_numpy().tolist() == [
        ["b", 0, 1.0, 0], ["b", 1, 0.5, 0], ["a", 0, 0.0, 0], ["c", 5, 0.5, 5], ["c", 6, 0.5, 6]
    ]  # fmt: skip
    assert count_ties(paths) == {"a": (0, 1), "b": (1, 2), "c": (2, 2)}
    assert read_pairs([]).columns.tolist() == columns
    assert count_ties([]) == {}


def test_a_result_that_counts_its_ties_needs_no_file_of_pairs(fake_run):
    folder = fake_run(num_pairs=5, anchors=(0, 25), final=False)
    run = read_runs([folder])[0]
    literal = float((run.anchors[1].pairs["score"] == 0.5).mean())
    assert tie_rate(run, run.anchors[1], "lmeff_blimp") == literal
    of_phenomenon = run.anchors[1].pairs.query("task in @run.paradigms('lmeff_blimp_ellipsis')")["score"]

    (results,) = folder.glob("results/*25M")
    content = json.loads((results / "lmeff_blimp.json").read_text())
    content |= {"kind": "pairs", "lmeff": {"num_pairs": 5 * 67, "num_ties": 67}}
    (results / "lmeff_blimp.json").write_text(json.dumps(content))
    (results / "pairs" / "lmeff_blimp.parquet").write_bytes(b"not read")
    assert tie_rate(run, run.anchors[1], "lmeff_blimp_ellipsis") == (of_phenomenon == 0.5).mean(), (
        "they were counted once"
    )
    run = read_runs([folder])[0]
    assert tie_rate(run, run.anchors[1], "lmeff_blimp") == 1 / 5
    with pytest.raises(InputError, match="not readable as scores"):  # the number is that of the whole suite
        tie_rate(run, run.anchors[1], "lmeff_blimp_ellipsis")
