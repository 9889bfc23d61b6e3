"""Generated texts in the report."""

import json
from pathlib import Path

import pytest

from lmeff.analysis import read_runs, write_report
from lmeff.errors import InputError


def write_texts(run: Path, revision: str, word: str, prompts: int = 8) -> Path:
    """`generations.jsonl` of a revision: two samples for each of some prompts."""
    records = [
        {"prompt": f"Prompt {number} <b>", "sample": sample, "finished": "eos" if number % 2 else "length"}
        | {"text": f" {word} {number}.{sample} <script>alert(1)</script>"}
        for number in range(prompts)
        for sample in range(2)
    ]
    path = run / "results" / revision / "generations.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def page_of(*runs: Path) -> str:
    output = runs[0] / "page.html"
    write_report(read_runs(runs), output)
    return output.read_text(encoding="utf-8")


@pytest.mark.medium
def test_the_report_shows_what_the_first_and_the_last_anchor_write(fake_run):
    run = fake_run(anchors=(0, 25, 50), scored=False)
    assert "What it writes" not in page_of(run)
    for revision, word in (("tokens-0", "first"), ("tokens-25M", "middle"), ("tokens-50M", "last")):
        write_texts(run, f"seed-0-{revision}", word)
    page = page_of(run)
    assert "What it writes" in page
    assert page.count('<details class="texts"') == 6
    assert "<dt>0</dt><dd>first 0.0 &lt;script&gt;alert(1)&lt;/script&gt; …</dd>" in page
    assert "<dt>50M</dt><dd>last 7.0 &lt;script&gt;alert(1)&lt;/script&gt;</dd>" in page
    assert "<summary>Prompt 0 &lt;b&gt;</summary>" in page
    assert "middle 0" not in page
    assert "0.1 &lt;script" not in page
    assert "<script>alert" not in page


def test_prompts_are_shown_that_both_anchors_were_given(fake_run):
    run = fake_run(anchors=(0, 25), scored=False)
    write_texts(run, "seed-0-tokens-0", "first", prompts=1)
    write_texts(run, "seed-0-tokens-25M", "last", prompts=5)
    assert page_of(run).count('<details class="texts"') == 1


def test_texts_of_the_final_revision_are_those_of_the_anchor_it_equals(fake_run):
    run = fake_run(anchors=(0, 25), scored=False)
    write_texts(run, "seed-0", "final")
    page = page_of(run)
    assert "<dt>25M</dt><dd>final 0.0" in page
    assert page.count("<dt>25M</dt>") == 6


@pytest.mark.medium
def test_several_runs_have_theirs_run_by_run(fake_run):
    runs = [fake_run(seed=seed, anchors=(0, 25), scored=False) for seed in (0, 1)]
    write_texts(runs[1], "seed-1-tokens-25M", "second")
    assert page_of(*runs).count("What it writes:") == 1


def test_only_a_newline_ends_a_text(fake_run):
    run = fake_run(anchors=(0, 25), scored=False)
    path = write_texts(run, "seed-0-tokens-25M", "one\u2028two\x85three")
    path.write_text(path.read_text().encode().decode("unicode_escape"), encoding="utf-8")
    assert "one\u2028two\x85three 0.0" in page_of(run)


def test_damaged_texts_are_named(fake_run):
    run = fake_run(anchors=(0, 25), scored=False)
    path = write_texts(run, "seed-0-tokens-25M", "x")
    path.write_text('{"prompt": "a"}\n')
    with pytest.raises(InputError, match=r"generations\.jsonl: not readable as generated texts"):
        page_of(run)
