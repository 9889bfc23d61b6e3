"""Scores of runs and of plain CSV files, read alike; what is wrong with a file is one line."""

import json
from pathlib import Path

import numpy as np
import pytest

from lmeff.analysis.prediction.document import predict
from lmeff.analysis.prediction.text import predict_text
from lmeff.analysis.scores.chosen_task import choose_task
from lmeff.analysis.scores.from_observations import make_curve_table, missing_scores, with_chosen_target
from lmeff.analysis.scores.observation import Observation, is_less_better
from lmeff.analysis.scores.paths import read_observations
from lmeff.cli import main
from lmeff.errors import InputError

PUBLISHED = "dataset,model_size,milestone,vocab_size,seed,acc"


def csv(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "scores.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_published_table_is_known_by_its_header(tmp_path):
    path = csv(tmp_path, PUBLISHED, "tinystories,60m,25,8000,0,0.52", "tinystories,180m,final,16000,1,0.61")
    (first, last), notes = read_observations([path])
    assert first == Observation(
        cell="tinystories 60m 8000", seed="0", tokens=25_000_000, task="blimp", metric="acc", value=0.52,
        corpus="tinystories", size="60m", num_parameters=60_000_000, vocab_size=8000, tokens_per_step=65_536,
    )  # fmt: skip
    assert (last.tokens, last.tokens_per_step, last.run) == (None, 131_072, "tinystories 180m 16000, seed 1")
    assert any("16,384 / 65,536 / 131,072" in note for note in notes)
    assert "scores.csv: scores are shares of 1" in notes


def test_other_columns_are_named_and_units_count(tmp_path):
    path = csv(tmp_path, "step,lang,width,score", "3,de,1e6,55.5", "4,de,1e6,100")
    (first, _), notes = read_observations([path], "tokens=step:2M,corpus=lang,parameters=width")
    assert (first.tokens, first.corpus, first.num_parameters, first.value) == (6_000_000, "de", 1_000_000, 0.555)
    assert "scores.csv: scores are in percent" in notes


def test_an_empty_value_is_a_missing_score(tmp_path):
    path = csv(tmp_path, "tokens,seed,acc", "1,0,.5", "1,1,", "2,0,NaN", "2,1,0.6")
    scores, notes = read_observations([path])
    assert [(one.tokens, one.seed) for one in scores] == [(1, "0"), (2, "1")]
    assert "scores.csv:3: 2 rows have no number in column acc: missing scores" in notes


@pytest.mark.parametrize(
    ("lines", "columns", "said"),
    [
        (["tokens,acc", "1,x"], "", "scores.csv:2: acc: 'x' is not a number"),
        (["tokens,acc", "1,.5,3"], "", "scores.csv:2: 3 columns where the header has 2"),
        (["tokens,acc", "soon,.5"], "", "scores.csv:2: tokens: 'soon' is not a number"),
        (["tokens,acc", ",.5"], "", "scores.csv:2: tokens: a number of tokens or 'final' is wanted"),
        (["tokens,acc"], "", "no rows below the header"),
        (["milestone,acc", "1,.5"], "", "which column has tokens? --columns tokens=milestone:M; it has milestone, acc"),
        (["tokens,acc", "1,.5"], "corpus=datset", "no column 'datset' for corpus; it has tokens, acc"),
        (["tokens,dataset,acc", "1,a,.5"], "corpus=datset", "did you mean dataset?"),
        (["tokens,acc", "1,.5"], "corpsu=acc", "no field 'corpsu'; did you mean corpus?"),
        (["tokens,acc", "1,.5"], "corpus", "FIELD=COLUMN is wanted"),
        (["tokens,acc", "1,.5"], "tokens=tokens:Q", "a unit is K, M, B"),
        (["tokens,acc", "1,250", "2,3"], "", "values from 3 to 250 are neither shares of 1 nor percent"),
        (["tokens,acc", "1,"], "", "no row has a number in column acc"),
        (["tokens,dev_loss", "1,.5"], "value=dev_loss", "column 'dev_loss': less of it is better"),
        (["tokens,acc", "1,.5", "-5,.5"], "", "scores.csv:3: tokens: -5 is no number from 0 to 1e+18"),
        (
            ["run,unit,tokens,acc", "a,words,1,.5", "b,tokens,1,.5", "a,tokens,2,.6"],
            "",
            "scores.csv:4: unit: a counts tokens here and words above",
        ),
        (["tokens,acc", "1e30,.5"], "", "scores.csv:2: tokens: 1e30 is no number from 0 to 1e+18"),
        (["tokens,acc", "1,.5"], "tokens=tokens:0", "scores.csv:2: --columns tokens:0: a unit is K, M, B"),
    ],
)
def test_mistakes_are_one_line(tmp_path, lines, columns, said):
    with pytest.raises(InputError) as raised:
        read_observations([csv(tmp_path, *lines)], columns)
    assert said in str(raised.value)
    assert len(raised.value.mistakes) == 1


def test_tasks_are_shares_or_percent_each_by_itself_and_losses_are_refused(tmp_path):
    path = csv(tmp_path, "tokens,task,value", "1,blimp,.5", "2,blimp,.6", "1,glue,50", "2,glue,60", "1,wiki_ppl,250")
    observations, notes = read_observations([path])
    assert [one.value for one in observations] == [0.5, 0.6, 0.5, 0.6, 250]
    assert "scores.csv: glue (acc): scores are in percent" in notes
    assert {one.task for one in choose_task(observations, None)[0]} == {"glue"}
    with pytest.raises(InputError, match=r"wiki_ppl \(acc\): less of it is better"):
        choose_task(observations, "wiki_ppl")
    assert is_less_better("valLoss")
    assert not is_less_better("glossary", "acc", "rabbits", "score")


def test_results_that_were_not_scored_as_the_last_one_are_left_out(fake_run, capsys):
    runs = [fake_run(name=name, anchors=(0, 25, 50, 100), num_pairs=5) for name in "ab"]
    for run in runs:
        for result in run.glob("results/*/lmeff_blimp.json"):
            document = json.loads(result.read_text())
            is_odd = run is runs[0] and result.parent.name.endswith(("-25M", "-50M"))
            settings = {"scoring": "pseudo_log_likelihood"} if is_odd else {}
            document["lmeff"] = {"data_sha256": "d", "settings": {"limit": None, **settings}}
            result.write_text(json.dumps(document))
    observations, notes = read_observations([runs[0].parents[1]])
    by_cell = {cell: [one.tokens for one in observations if one.cell == cell] for cell in "ab"}
    assert by_cell == {"a": [100 * 10**6, None], "b": [25 * 10**6, 50 * 10**6, 100 * 10**6, None]}
    (note,) = (note for note in notes if note.startswith("lmeff_blimp: left out of a seed 0"))
    assert note.endswith("not scored as its last anchor was: 25M, 50M")
    assert main(["predict", str(runs[0].parents[1])]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "too few runs" in line
    assert line.endswith(note)


def test_a_path_that_is_not_there_and_columns_of_no_file(tmp_path, finished_run):
    with pytest.raises(InputError, match=r"none\.csv: no such file or folder"):
        read_observations([tmp_path / "none.csv"])
    with pytest.raises(InputError, match="are those of a CSV file"):
        read_observations([finished_run], "corpus=dataset")


def test_duplicates_are_named(tmp_path):
    path = csv(tmp_path, PUBLISHED, *["a,60m,25,8000,0,.5", "a,60m,25,8000,0,.6", "a,60m,50,8000,0,.6"])
    with pytest.raises(InputError, match=r"1 scores are there more than once: a 60m 8000, seed 0, 25M, blimp; "):
        make_curve_table(read_observations([path])[0])


def test_missing_scores_are_listed(tmp_path):
    rows = [f"{corpus},60m,{at},8000,0,.{at}" for corpus in "abcd" for at in (25, 50, 75) if (corpus, at) != ("b", 50)]
    table, notes = make_curve_table(read_observations([csv(tmp_path, PUBLISHED, *rows)])[0])
    table = with_chosen_target(table, "last")
    assert missing_scores(table) == [{"run": "b 60m 8000, seed 0", "tokens": 50_000_000}]
    assert not notes
    assert np.isnan(table.scores[table.run_names.index("b 60m 8000, seed 0"), 1])


def test_a_table_without_tokens_per_step_says_what_it_loses(tmp_path):
    rows = [f"{corpus},{at},.{at}" for corpus in "abcd" for at in (25, 50)]
    table, notes = make_curve_table(read_observations([csv(tmp_path, "corpus,tokens,acc", *rows)])[0])
    assert not table.has_batches
    assert any("no size correction is learned" in note for note in notes)


def target_of(rows: list[tuple[str, int | None]], target: str):
    observations = [
        Observation(cell=cell, seed="0", tokens=tokens, task="t", metric="acc", value=0.5) for cell, tokens in rows
    ]
    return with_chosen_target(make_curve_table(observations)[0], target)


def test_the_default_target_is_the_last_anchor_that_enough_recipes_have_reached():
    grid = [(cell, tokens) for cell in "abcdefgh" for tokens in (10, 20)]
    assert target_of([*grid, ("a", 30), ("b", 30)], "last").target_tokens == 20
    three = [(cell, 30) for cell in "abc"]
    table = target_of([*grid, *three], "last")
    assert table.target_tokens == 30
    assert table.is_finished.sum() == 3
    assert target_of([*grid, *three], "20").is_finished.all()


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("30M", "no run has this anchor; there are 10, 20"),
        ("soon", "a number of tokens such as 2000M, 'last' or 'final' is wanted"),
        ("final", "no run has a score called final"),
        ("10", "no anchor before the target 10"),
    ],
)
def test_a_target_that_is_not_there(target, said):
    with pytest.raises(InputError, match=said):
        target_of([(cell, tokens) for cell in "abc" for tokens in (10, 20)], target)


def test_too_few_runs():
    with pytest.raises(
        InputError, match="too few runs: 2 recipes have reached the same anchor, and at least 3 are needed"
    ):
        target_of([(cell, tokens) for cell in "ab" for tokens in (10, 20)], "last")


def test_runs_are_read_with_what_their_plan_and_recipe_say(finished_run):
    observations, _ = read_observations([finished_run])
    chosen, notes = choose_task(observations, None)
    assert not notes
    assert {one.task for one in chosen} == {"lmeff_blimp"}
    assert [one.tokens for one in chosen][:2] == [25_000_000, 50_000_000]  # the untrained model is no point of a curve
    assert (chosen[-1].tokens, chosen[-1].value) == (None, chosen[-2].value)
    first = chosen[0]
    assert (first.corpus, first.family, first.size, first.vocab_size) == ("hybrid_3.7B", "llama", "180m", 50_257)
    assert (first.tokens_per_step, first.num_parameters, first.flops) == (131_072, 232_930_560, 191 * 1.5e14)


def test_a_task_that_is_not_there(finished_run):
    with pytest.raises(InputError, match="--task glue: no scores of it; there are lmeff_blimp"):
        choose_task(read_observations([finished_run])[0], "glue")


def test_words_are_no_tokens(tmp_path):
    rows = [
        f"c,{run},{unit},{at}M,0.{5 + at}"
        for run, unit in (("a", "words"), ("b", "words"), ("d", "words"), ("e", "tokens"))
        for at in (1, 2)
    ]
    path = csv(tmp_path, "corpus,run,unit,tokens,acc", *rows)
    chosen, notes = choose_task(read_observations([path])[0], None)
    assert {one.run for one in chosen} == {"a c, seed 0", "b c, seed 0", "d c, seed 0"}
    assert notes == [
        "left out, since they count tokens where most count words: e c, seed 0",
        "these runs count words: where tokens are said of anchors, words are meant",
    ]
    document = predict(chosen, "last", notes)
    assert document["target"]["unit"] == "words"
    text = predict_text(document)
    assert "have reached 2M words" in text
    assert "Stopping at 1M of 2M words" in text
