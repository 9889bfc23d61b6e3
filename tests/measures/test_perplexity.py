"""Perplexity: every token once, whatever the windows and batches; on a run's own text the numbers that training recorded."""

import gzip
import json
import math
import shutil
import sys
from pathlib import Path

import numpy as np
import prepared
import pytest
import torch
import zstandard
from evaluation.small_models import NAMES, VERBS, save_model, write_anchor
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import AutoModelForCausalLM, AutoTokenizer

from lmeff.analysis import curves_json, read_runs
from lmeff.cli import main
from lmeff.measures.perplexity.losses import token_losses
from lmeff.measures.perplexity.text import HeldText, file_text
from lmeff.measures.perplexity.windows import packed_windows, strided_windows

TEXTS = {
    "short": [f"{name} {verb} the old doctors." for name, verb in zip(NAMES, VERBS, strict=False)],
    "long": [
        " ".join(f"{name} {verb} {other}." for name in NAMES for verb in VERBS[:2] for other in NAMES[:3]),
        "Früh.",
    ],
}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """A folder with two domains, packed in two ways."""
    folder = tmp_path_factory.mktemp("text")
    lines = {
        name: "".join(json.dumps({"text": text}) + "\n" for text in texts).encode() for name, texts in TEXTS.items()
    }
    (folder / "short.jsonl.gz").write_bytes(gzip.compress(lines["short"]))
    (folder / "long.jsonl.zst").write_bytes(zstandard.compress(lines["long"]))
    return folder


@pytest.fixture(scope="module")
def parts(model_folder, files):
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    return AutoModelForCausalLM.from_pretrained(model_folder), tokenizer, file_text([str(files)], tokenizer, None)


def by_hand(model, tokenizer, text: str, end: bool = True) -> tuple[float, int]:
    """(nats, tokens) of a document, one forward pass for each of its tokens."""
    ids = [0, *tokenizer(text, add_special_tokens=False)["input_ids"], *([1] if end else [])]
    nats = 0.0
    with torch.no_grad():
        for place in range(1, len(ids)):
            logits = model(torch.tensor([ids[:place]])).logits[0, -1].double()
            nats -= logits.log_softmax(-1)[ids[place]].item()
    return nats, len(ids) - 1


def run(*words: object) -> int:
    return main(["perplexity", *map(str, words)])


def result_of(output: Path, name: str) -> dict:
    return json.loads((output / f"{name}.json").read_text())


def test_the_numbers_are_those_of_a_plain_token_by_token_computation(model_folder, files, parts, tmp_path, capsys):
    """Windows of 128 hold the short documents whole; of the long one's tokens all have as much before them as can be."""
    model, tokenizer, _ = parts
    assert run(model_folder, "--text", files / "short.jsonl.gz", "--output", tmp_path, "--json") == 0
    nats, tokens = np.sum([by_hand(model, tokenizer, text) for text in TEXTS["short"]], axis=0)
    num_bytes, num_words = (sum(map(len, found)) for found in (TEXTS["short"], [t.split() for t in TEXTS["short"]]))
    (result,) = json.loads(capsys.readouterr().out).values()
    assert result == result_of(tmp_path, "perplexity_short")
    scores = result["results"]["perplexity_short"]
    assert scores["loss,none"] == pytest.approx(nats / tokens, rel=1e-6)
    assert scores["perplexity,none"] == pytest.approx(math.exp(nats / tokens), rel=1e-5)
    assert scores["bits_per_byte,none"] == pytest.approx(nats / math.log(2) / num_bytes, rel=1e-6)
    assert scores["word_perplexity,none"] == pytest.approx(math.exp(nats / num_words), rel=1e-5)
    assert result["counts"]["perplexity_short"] == {
        "num_documents": 6, "num_tokens": tokens, "num_bytes": num_bytes, "num_words": num_words
    }  # fmt: skip
    assert result["higher_is_better"]["perplexity_short"]["bits_per_byte"] is False


def test_without_the_end_of_documents_it_is_what_lm_eval_sums(model_folder, files, parts, tmp_path):
    assert run(model_folder, "--text", files / "short.jsonl.gz", "--no-eos", "--output", tmp_path) == 0
    asked = [Instance("loglikelihood_rolling", {}, (text,), 0, ("t", 0, 1)) for text in TEXTS["short"]]
    model, tokenizer, _ = parts
    options = {"add_bos_token": False, "softmax_dtype": "float32"}  # it puts BOS in front of rolling text in any case
    stock = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=2, **options)
    wanted = -sum(stock.loglikelihood_rolling(asked, disable_tqdm=True))
    found = result_of(tmp_path, "perplexity_short")
    num_bytes = found["counts"]["perplexity_short"]["num_bytes"]
    assert found["results"]["perplexity_short"]["bits_per_byte,none"] == pytest.approx(
        wanted / math.log(2) / num_bytes, rel=1e-5
    )


def test_domains_sum_up_to_all_and_bytes_are_counted_before_normalization(model_folder, files, tmp_path):
    assert run(model_folder, "--text", files, "--name", "mine", "--output", tmp_path) == 0
    result = result_of(tmp_path, "perplexity_mine")
    counts, scores = result["counts"], result["results"]
    assert result["group_subtasks"] == {"perplexity_mine": ["perplexity_mine_long", "perplexity_mine_short"]}
    assert counts["perplexity_mine_long"]["num_bytes"] == sum(len(text.encode()) for text in TEXTS["long"])
    for unit in ("num_tokens", "num_bytes", "num_words", "num_documents"):
        assert counts["perplexity_mine"][unit] == sum(counts[f"perplexity_mine_{name}"][unit] for name in TEXTS)
    nats = {task: counts[task]["num_tokens"] * scores[task]["loss,none"] for task in counts}
    assert nats["perplexity_mine"] == pytest.approx(nats["perplexity_mine_long"] + nats["perplexity_mine_short"])


@pytest.mark.parametrize(("length", "stride"), [(16, 8), (16, 15), (16, 1), (7, 3), (2, 1)])
def test_every_token_is_predicted_once_with_the_context_that_is_promised(parts, length, stride):
    text: HeldText = parts[2]
    windows = strided_windows(text, length, stride)
    begins = np.repeat(text.lengths.cumsum() - text.lengths, text.lengths)
    times = np.zeros(len(text.ids), int)
    for start, stop, first in zip(windows.starts, windows.stops, windows.firsts, strict=True):
        places = np.arange(first, stop)
        times[places] += 1
        assert 2 <= stop - start <= length
        assert (windows.documents[start:stop] == windows.documents[start]).all()
        assert (places - start >= np.minimum(length - stride, places - begins[places])).all()
    assert (times == windows.is_scored).all()
    assert windows.is_scored.sum() == len(text.ids) - len(text.lengths)
    packed = packed_windows(text, length, False)
    times[:] = 0
    for stop, first in zip(packed.stops, packed.firsts, strict=True):
        times[first:stop] += 1
    assert times[0] == 0
    assert (times[1:] == 1).all()


def test_stride_1_gives_every_token_all_the_context_there_is(parts):
    """Of a document longer than a window, against a forward pass of its own for each token."""
    model, _, text = parts
    windows = strided_windows(text, 12, 1)
    losses = token_losses(model, windows, 16)
    begin = int(text.lengths[: list(text.domains).index("long")].sum())
    with torch.no_grad():
        for place in range(begin + 1, begin + 60):
            seen = text.ids[max(begin, place - 11) : place]
            logits = model(torch.tensor(seen)[None]).logits[0, -1]
            assert losses[place] == pytest.approx(-logits.log_softmax(-1)[text.ids[place]].item(), abs=1e-4)


@pytest.mark.parametrize("way", ["strided", "packed", "kept apart"])
def test_batches_make_no_difference(parts, way):
    model, _, text = parts
    windows = strided_windows(text, 24, 9) if way == "strided" else packed_windows(text, 24, way == "kept apart")
    one = token_losses(model, windows, 1)
    for batch_size in (3, 64, None):
        assert np.abs(token_losses(model, windows, batch_size) - one).max() < 2e-5
    assert (one[windows.is_scored] > 0).all()
    assert (one[~windows.is_scored] == 0).all()


def test_documents_kept_apart_in_a_window_are_as_if_alone(parts):
    model, _, text = parts
    whole = np.flatnonzero(text.lengths < 30)
    packed = token_losses(model, packed_windows(text, 128, True))
    alone = token_losses(model, strided_windows(text, 128, 64))
    ends = text.lengths.cumsum()
    compared = [index for index in whole if (ends[index] - 1) // 127 == (ends[index] - text.lengths[index]) // 127]
    assert len(compared) > 3
    for index in compared:
        places = slice(ends[index] - text.lengths[index], ends[index])
        assert packed[places] == pytest.approx(alone[places], abs=2e-5)


def test_one_token_that_is_both_bos_and_eos_stands_once_between_documents():
    ids = np.array([9, 3, 4, 9, 9, 5, 9, 9, 6, 9])
    text = HeldText(ids, np.array([4, 3, 3]), np.ones(3, int), np.ones(3, int), ("a",) * 3, True)
    packed = packed_windows(text, 4, False)
    assert packed.ids.tolist() == [9, 3, 4, 9, 5, 9, 6, 9]
    assert packed.documents.tolist() == [0, 0, 0, 0, 1, 1, 2, 2]
    assert strided_windows(text, 4, 2).is_scored.tolist() == [False, True, True, True, *[False, True, True] * 2]
    unscored = packed_windows(text, 4, False, score_end=False)
    assert unscored.is_scored.tolist() == [False, True, True, False, True, False, True, False]


def test_same_weights_text_and_settings_are_not_computed_again(model_folder, files, tmp_path):
    words = (model_folder, "--text", files, "--name", "x", "--output", tmp_path)
    path = tmp_path / "perplexity_x.json"
    assert run(*words) == 0
    before = path.stat().st_mtime_ns
    assert run(*words, "--batch-size", 2) == 0
    assert path.stat().st_mtime_ns == before
    assert run(*words, "--stride", 5) == 0
    assert path.stat().st_mtime_ns != before


def test_a_twin_beside_it_is_not_measured_again(model_folder, files, tmp_path):
    """Results are of weights, not of folders: another name for the same model takes them over."""
    words = (model_folder, "--text", files, "--name", "x", "--output")
    assert run(*words, tmp_path / "one") == 0
    path = tmp_path / "one" / "perplexity_x.json"
    path.write_text(path.read_text().replace('"alias": "perplexity_x"', '"alias": "known"'))
    assert run(*words, tmp_path / "two") == 0
    assert result_of(tmp_path / "two", "perplexity_x") == result_of(tmp_path / "one", "perplexity_x")
    assert result_of(tmp_path / "two", "perplexity_x")["results"]["perplexity_x"]["alias"] == "known"
    assert run(*words, tmp_path / "three", "--no-eos") == 0
    assert result_of(tmp_path / "three", "perplexity_x")["results"]["perplexity_x"]["alias"] == "perplexity_x"


def test_one_text_in_tokens_of_two_tokenizers_is_comparable_by_its_bytes(files, tmp_path):
    """Two runs, scored on the same files and on other ones."""
    for name, vocab_size in (("first", 600), ("second", 300)):
        folder = tmp_path / name / "seed-0" / "revisions" / "seed-0-tokens-1"
        save_model(folder, tokenizer_size=vocab_size)
        write_anchor(folder, 1)
        assert run(tmp_path / name / "seed-0", "--text", files, "--name", "x", "--length", 64) == 0
    runs = read_runs([tmp_path / "first", tmp_path / "second"])
    results = [one.anchors[0].results.tasks["perplexity_x"] for one in runs]
    assert results[0].about["data_sha256"] != results[1].about["data_sha256"]
    counts = [f"{result.num_tokens:,} tokens" for result in results]
    assert counts[0] != counts[1]
    (note,) = [note for note in curves_json(runs)["notes"] if note.startswith("perplexity_x")]
    assert note == (
        f"perplexity_x: first ({counts[0]}) and second ({counts[1]}) cut the text into other tokens: losses and perplexities"
        " per token cannot be compared; bits per byte can"
    )
    changed = tmp_path / "text"
    shutil.copytree(files, changed)
    (changed / "short.jsonl.gz").write_bytes(gzip.compress(b'{"text": "Anna sees the new doctors."}\n'))
    words = ("--text", changed, "--name", "y", "--length", 64)
    assert run(tmp_path / "first" / "seed-0", *words) == 0
    for path in tmp_path.glob("first/seed-0/results/*/perplexity_*.json"):
        if path.name == "perplexity_y.json":
            path.with_name("perplexity_x.json").write_text(path.read_text().replace("perplexity_y", "perplexity_x"))
            path.unlink()
    (note,) = [
        note
        for note in curves_json(read_runs([tmp_path / "first", tmp_path / "second"]))["notes"]
        if note.startswith("perplexity_x:")
    ]
    assert note.endswith("not scored alike, so the scores cannot be compared")


def test_other_text_of_the_same_name_replaces_nothing(model_folder, tmp_path, capsys):
    for folder, text in (("a", "Anna sees Boris."), ("b", "Carla hears nothing.")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.txt").write_text(text)
    words = ("--output", tmp_path / "out", "--text")
    assert run(model_folder, *words, tmp_path / "a" / "x.txt") == 0
    before = result_of(tmp_path / "out", "perplexity_x")
    capsys.readouterr()
    assert run(model_folder, *words, tmp_path / "b" / "x.txt") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "perplexity_x.json: holds the result of other text" in line
    assert "--name" in line
    assert result_of(tmp_path / "out", "perplexity_x") == before
    assert run(model_folder, *words, tmp_path / "b" / "x.txt", "--name", "y") == 0
    save_model(tmp_path / "other", hidden_size=16)
    assert run(tmp_path / "other", *words, tmp_path / "b" / "x.txt") == 2
    assert "holds results of" in capsys.readouterr().err


def test_a_broken_model_is_named_and_the_others_go_on(model_folder, files, tmp_path, capsys):
    for name in ("seed-0-tokens-1k", "seed-0-tokens-2k"):
        folder = tmp_path / "run" / "revisions" / name
        model = save_model(folder)
        write_anchor(folder, int(name[-2]))
    with torch.no_grad():
        model.lm_head.weight.fill_(math.nan)
    model.save_pretrained(folder)
    assert run(tmp_path / "run", "--text", files / "long.jsonl.zst") == 1
    printed = capsys.readouterr()
    assert "seed-0-tokens-2k: cannot be scored: ValueError: document 0: the loss of a token is nan" in printed.out
    assert "1 of 2 models could not be scored: seed-0-tokens-2k" in printed.err
    assert [path.parent.name for path in tmp_path.rglob("perplexity_long.json")] == ["seed-0-tokens-1k"]


def test_a_damaged_first_revision_is_named_and_the_others_go_on(files, tmp_path, capsys):
    for tokens in (1, 2):
        folder = tmp_path / "run" / "revisions" / f"seed-0-tokens-{tokens}"
        save_model(folder)
        write_anchor(folder, tokens)
    (tmp_path / "run" / "revisions" / "seed-0-tokens-1" / "config.json").write_text("half a fi")
    assert run(tmp_path / "run", "--text", files / "long.jsonl.zst") == 1
    assert "seed-0-tokens-1: cannot be scored" in capsys.readouterr().out
    assert [path.parent.name for path in tmp_path.rglob("perplexity_long.json")] == ["seed-0-tokens-2"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--text", "nowhere.txt"], "--text: nowhere.txt: no such file or folder"),
        (["--text", "{empty}"], "there is no text in"),
        (["--text", "{broken}"], "broken.jsonl:2: not readable as JSON"),
        ([], "says nothing of its corpus; name the text with --text"),
        (["--text", "{files}", "--split", "dev"], "--split: is of a run's own corpus"),
        (["--text", "{files}", "--length", "999"], "--length: 999 tokens; "),
        (["--text", "{files}", "--way", "packed", "--stride", "4"], "--stride: packed windows lie side by side"),
        (["--text", "{files}", "--name", "../x"], "--name: '../x' may have"),
        (["--text", "{files}", "--name", "dev"], "--name: dev is the run's own text"),
        (
            ["--text", "{files}", "--length", "8", "--stride", "8"],
            "--stride: 8 must be below the length of a window, 8",
        ),
    ],
)
def test_mistakes_are_told_in_a_line(model_folder, files, tmp_path, capsys, words, said):
    (tmp_path / "empty.txt").write_text("  \n")
    (tmp_path / "broken.jsonl").write_text('{"text": "a"}\n{"text": \n')
    places = {"files": files, "empty": tmp_path / "empty.txt", "broken": tmp_path / "broken.jsonl"}
    words = [word.format(**places) for word in words]
    assert run(model_folder, *words, "--output", tmp_path / "out") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert said in line


@pytest.fixture(scope="module")
def finished(shared_data, tmp_path_factory) -> Path:
    """A run of a few steps on two domains, whose held-out text is larger than what its own held-out loss is taken from."""
    folder = tmp_path_factory.mktemp("run")
    for name in ("wiki", "book"):
        for side in ("train", "validation"):
            lines = (shared_data / "leaner" / side / f"{name}.jsonl").read_text().splitlines()
            (folder / f"{side}-{name}.jsonl").write_text("\n".join(lines[:60]) + "\n")
    words = [
        f"corpus.paths=[{folder}/train-wiki.jsonl,{folder}/train-book.jsonl]",
        f"corpus.dev_paths=[{folder}/validation-wiki.jsonl,{folder}/validation-book.jsonl]",
        *(
            "tokenizer.vocab_size=400",
            "model.hidden_size=16",
            "model.intermediate_size=32",
            "model.num_hidden_layers=1",
        ),
        *("batch.tokens=1024", "anchors.tokens=[0,4k]", "schedule.warmup=1 steps", "evaluation.tasks=[]"),
        *("evaluation.dev_tokens=14k", f"paths.outputs={folder}/outputs", f"paths.data={folder}/data"),
    ]
    recipe = Path(__file__).resolve().parents[2] / "recipes" / "leaner_small.yaml"
    command = [sys.executable, "-m", "lmeff.run", str(recipe), *words]
    answer = prepared.run(command, capture_output=True, text=True, timeout=600)
    assert answer.returncode == 0, answer.stderr
    return folder / "outputs" / "leaner_small" / "seed-0"


@pytest.mark.medium
def test_packed_text_of_a_run_gives_the_held_out_loss_that_its_anchors_recorded(finished, capsys):
    words = (finished, "--way", "packed", "--limit-tokens", "14k")
    assert run(*words) == 2
    assert "--limit-tokens: a part's results would replace the run's full ones" in capsys.readouterr().err
    assert run(*words, "--output", finished / "results") == 0
    anchors = {path.parent.name: json.loads(path.read_text()) for path in finished.glob("revisions/*/anchor.json")}
    assert len(anchors) == 3
    (run_read,) = read_runs([finished])
    for anchor in run_read.anchors:
        wanted, found = anchors[anchor.revision], anchor.results.tasks["perplexity_dev"].metrics
        assert found["loss"].value == pytest.approx(wanted["dev_loss"], rel=1e-6)
        assert found["perplexity"].value == pytest.approx(wanted["dev_perplexity"], rel=1e-5)
        assert found["bits_per_byte"].value == pytest.approx(wanted["dev_bits_per_byte"], rel=1e-6)
    results = curves_json([run_read])["runs"][0]["anchors"][-1]["results"]
    assert {"perplexity_dev", "perplexity_dev_validation-book", "perplexity_dev_validation-wiki"} <= set(results)


@pytest.mark.medium
def test_all_of_a_runs_held_out_text_is_the_same_as_its_files(finished, tmp_path):
    last = finished / "revisions" / "seed-0"
    assert run(finished, "--revisions", "seed-0-tokens-4k", "--output", tmp_path / "split") == 0
    files = finished.parents[2].glob("validation-*.jsonl")
    assert run(last, "--text", *files, "--name", "same", "--output", tmp_path / "files") == 0
    split = result_of(tmp_path / "split" / "seed-0-tokens-4k", "perplexity_dev")
    same = result_of(tmp_path / "files", "perplexity_same")
    for kind in ("wiki", "book"):
        one, other = f"perplexity_dev_validation-{kind}", f"perplexity_same_validation-{kind}"
        assert split["counts"][one]["num_words"] == same["counts"][other]["num_words"]
        assert split["results"][one]["loss,none"] == pytest.approx(same["results"][other]["loss,none"], rel=1e-3)
    assert run(finished, "--split", "train", "--limit-tokens", "3k", "--output", tmp_path / "train") == 0
    train = result_of(tmp_path / "train" / "seed-0-tokens-4k", "perplexity_train")
    assert 2000 < train["counts"]["perplexity_train"]["num_tokens"] < 3000


@pytest.mark.medium
def test_a_part_never_replaces_all_of_a_revisions_text(finished, tmp_path, capsys):
    last, path = finished / "revisions" / "seed-0", tmp_path / "out" / "perplexity_dev.json"
    assert run(last, "--limit-tokens", "14k", "--output", path.parent) == 0
    part = result_of(path.parent, "perplexity_dev")
    assert part["lmeff"]["settings"]["limit_tokens"] == 14_000
    assert run(last, "--output", path.parent) == 0, "all of it may replace a part"
    whole = result_of(path.parent, "perplexity_dev")
    assert whole["counts"]["perplexity_dev"]["num_tokens"] > 14_000 > part["counts"]["perplexity_dev"]["num_tokens"]
    assert "limit_tokens" not in whole["lmeff"]["settings"]
    assert whole["lmeff"]["device"] == "cpu"
    capsys.readouterr()
    assert run(last, "--limit-tokens", "14k", "--output", path.parent) == 2
    said = capsys.readouterr().err
    assert "perplexity_dev.json: holds the result of other text, or of another part of it; give it a folder" in said
    assert result_of(path.parent, "perplexity_dev") == whole


@pytest.mark.medium
def test_a_revision_that_was_trained_on_another_corpus_is_told(finished, tmp_path, capsys):
    shutil.copytree(finished, tmp_path / "run")
    path = tmp_path / "run" / "revisions" / "seed-0-tokens-0" / "provenance.json"
    provenance = json.loads(path.read_text())
    provenance["corpus"]["fingerprint"] = "0" * 32
    path.write_text(json.dumps(provenance))
    assert run(tmp_path / "run", "--limit-tokens", 1000, "--output", tmp_path / "out") == 0
    said = [line for line in capsys.readouterr().out.splitlines() if "another corpus" in line]
    assert said == ["seed-0-tokens-0: was trained on another corpus and may have seen this text"]


def test_a_model_of_the_hub_needs_text(capsys):
    assert run("someone/something@main") == 2
    assert capsys.readouterr().err == (
        "someone/something@main: a model of the Hub brings no text; name some with --text PATH\n"
    )


@pytest.mark.medium
def test_a_run_whose_tokens_are_gone_says_so(finished, tmp_path, capsys):
    folder = finished.parents[2] / "data"
    folder.rename(tmp_path / "elsewhere")
    try:
        assert run(finished) == 2
    finally:
        (tmp_path / "elsewhere").rename(folder)
    assert "the tokens it was trained on are not under" in capsys.readouterr().err
