"""Whatever a tokenizer adds: a text begins with one BOS, and of an answer all its own tokens are scored, and nothing else."""

from pathlib import Path

import numpy as np
import pytest
import torch
from evaluation.evaluating import evaluate_model
from evaluation.small_models import write_pairs
from evaluation.suites import ewok_item, swapped, write_lines
from evaluation.tokenizer_habits import FRONT, KINDS, SENTENCES, save_llama, save_with_habit, slow_tokenizer
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from scipy.stats import spearmanr
from transformers import AutoModelForCausalLM, AutoTokenizer, ByT5Tokenizer

from lmeff.errors import InputError
from lmeff.evaluation.scorer.answer_tokens import split_tokens
from lmeff.evaluation.scorer.language_model import LmeffLM
from lmeff.evaluation.scorer.load import load_model
from lmeff.evaluation.tasks.loaded import load_tasks

BOS, EOS = 1, 2
TASKS = {
    "lmeff_pairs::mine": "pairs",
    "lmeff_ewok_social_relations": "ewok",
    "lmeff_ewok_context_social_relations": "ewok",
    "lmeff_comps_base": "comps",
    "lmeff_entity_tracking_regular_0_ops": "entity_tracking",
    "lmeff_smallbench_rte": "smallbench",
    "lmeff_wug_past": "wug_past",
}
"""Tasks of every kind, and the name of their data."""


@pytest.fixture(scope="module")
def paths(tmp_path_factory) -> dict[str, str]:
    """Few examples of every task, some of which put the border between context and answer within a word."""
    folder = tmp_path_factory.mktemp("data")
    write_pairs(folder / "pairs" / "mine.jsonl", list(zip(SENTENCES[:6:2], SENTENCES[1:6:2], strict=True)))
    items = [ewok_item(one, other, "sees") for one, other in (("Anna", "Boris"), ("Carla", "Farid"))]
    write_lines(folder / "ewok" / "social-relations.jsonl", [each for one in items for each in (one, swapped(one))])
    phrases = ("sees the old doctors.", "unhappily")
    comps = [{"prefix_acceptable": "Anna", "prefix_unacceptable": "the doctors", "property_phrase": p} for p in phrases]
    write_lines(folder / "comps" / "comps_base.jsonl", comps)
    options = ["happy.", "happily no", ".", "\nyes", "é x"]
    prefixes = ("Anna sees the un", "the old doctors ", "Boris.")
    tracking = [{"numops": 0, "input_prefix": prefix, "options": options} for prefix in prefixes]
    write_lines(folder / "entity_tracking" / "regular.jsonl", tracking)
    questions = [
        {"sentence1": one, "sentence2": other, "label": 1}
        for one, other in zip(SENTENCES[:3], SENTENCES[3:6], strict=True)
    ]
    write_lines(folder / "smallbench" / "rte.jsonl", questions)
    forms = [
        {"sentences": f"Anna is {form}y.\tAnna is {form}ily.", "ratio": r} for form, r in (("unhapp", 1), ("fun", 0))
    ]
    write_lines(folder / "wug_past" / "wug_past_tense.jsonl", forms)
    return {name: str(folder / name) for name in TASKS.values()}


def asked(folder: Path, paths: dict[str, str]) -> list[Instance]:
    """What all tasks ask, with the documents."""
    loaded = load_tasks(("lmeff_pairs", *list(TASKS)[1:]), None, paths, None, str(folder), str(folder))
    return [one for group in loaded.values() for name in group.tasks for one in group.fresh_requests(name)]


def expected_tokens(raw, context: str, answer: str, front: list[int]) -> tuple[list[int], list[int]]:
    """By the characters of the tokens that the bare tokenizer gives; the answer begins with the spaces before it."""
    found = raw.encode(context + answer)
    border = len(context.rstrip())
    num_context = sum(end <= border for _, end in found.offsets) if context else 0
    read, scored = found.ids[:num_context], found.ids[num_context:]
    return ((front if read else []) + read or [BOS]), scored


def log_probability(model, read: list[int], scored: list[int]) -> float:
    with torch.no_grad():
        logits = model(torch.tensor([read + scored])).logits[0].double()
    return logits.log_softmax(-1)[range(len(read) - 1, len(read + scored) - 1), scored].sum().item()


@pytest.mark.medium
@pytest.mark.parametrize("context_start", ["bos", "tokenizer"])
@pytest.mark.parametrize("habit", FRONT)
@pytest.mark.parametrize("kind", KINDS)
def test_an_answers_own_tokens_are_scored_for_every_kind_of_task(kind, habit, context_start, paths, tmp_path):
    raw = save_with_habit(tmp_path, kind, habit)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    front = [BOS] if context_start == "bos" else FRONT[habit]
    requests = asked(tmp_path, paths)
    wanted = [expected_tokens(raw, *one.args, front) for one in requests]
    values = [log_probability(model, *each) for each in wanted]
    ours = load_model(tmp_path, "cpu", progress=False, context_start=context_start)
    assert [(read, scored) for _, read, scored in ours.token_requests(requests)] == wanted
    assert [value for value, _ in ours.loglikelihood(requests)] == pytest.approx(values, abs=2e-4)
    exact = load_model(tmp_path, "cpu", progress=False, context_start=context_start, exact=True)
    assert [value for value, _ in exact.loglikelihood(requests, disable_tqdm=True)] == pytest.approx(values, abs=2e-4)
    smallbench = [
        (one.doc["num_tokens"][one.idx], each) for one, each in zip(requests, wanted, strict=True) if "gold" in one.doc
    ]
    assert len(smallbench) == 6
    assert all(number == len(scored) for number, (_, scored) in smallbench)
    assert not any(EOS in scored or BOS in scored for _, scored in wanted)


@pytest.mark.parametrize("habit", FRONT)
def test_a_whole_text_is_scored_after_one_bos_and_gone_on_from_after_one(habit, tmp_path):
    raw = save_with_habit(tmp_path, "bytes", habit)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    texts = ["Anna sees the old doctors.", "unhappily", "<s>Boris hears Carla."]
    own = [raw.encode(text.removeprefix("<s>")).ids for text in texts]
    rolling = [Instance("loglikelihood_rolling", {}, (text,), 0, metadata=("task", 0, 1)) for text in texts]
    until = [Instance("generate_until", {}, (text, {"until": ["@"], "max_gen_toks": 4}), 0) for text in texts]
    said = [
        model.generate(torch.tensor([[BOS, *ids]]), do_sample=False, max_new_tokens=4, pad_token_id=0)[
            0, len(ids) + 1 :
        ]
        for ids in own
    ]
    for context_start in ("bos", "tokenizer"):
        for exact in (False, True):
            ours = load_model(tmp_path, "cpu", progress=False, context_start=context_start, exact=exact)
            values = [log_probability(model, [BOS], ids) for ids in own]
            assert ours.loglikelihood_rolling(rolling, disable_tqdm=True) == pytest.approx(values, abs=2e-4)
            if context_start == "bos" or BOS in FRONT[habit]:
                found = ours.generate_until(until, disable_tqdm=True)
                assert found == [raw.decode(ids.tolist(), skip_special_tokens=True) for ids in said]


def test_stock_lm_eval_scores_the_end_token_of_such_a_tokenizer(paths, tmp_path):
    """Why counting is not enough: with a token behind every text, the first token of an answer is lost and EOS is scored."""
    save_with_habit(tmp_path, "bytes", "both")
    stock = HFLM(pretrained=str(tmp_path), device="cpu", dtype="float32")
    seen = []
    stock._loglikelihood_tokens = lambda requests, **_: seen.extend(requests) or []
    stock.loglikelihood([one for one in asked(tmp_path, paths) if one.args[0]], disable_tqdm=True)
    assert all(scored[-1] == EOS for _, _, scored in seen)


def test_where_counts_say_it_the_tokens_are_those_of_lm_eval(paths, tmp_path):
    save_with_habit(tmp_path, "bytes", "front")
    requests = asked(tmp_path, paths)
    stock = HFLM(pretrained=str(tmp_path), device="cpu", dtype="float32")
    seen = []
    stock._loglikelihood_tokens = lambda requests, **_: seen.extend(requests) or []
    stock.loglikelihood(requests, disable_tqdm=True)
    ours = load_model(tmp_path, "cpu", progress=False).token_requests(requests)
    same = [one == other for one, other in zip(ours, seen, strict=True)]
    others = [texts for (texts, _, _), is_same in zip(ours, same, strict=True) if not is_same]
    assert {context for context, _ in others} <= {"Anna sees the un"}
    assert sum(same) > len(same) - 6


@pytest.mark.medium
def test_results_follow(paths, tmp_path):
    """The whole way, with a tokenizer that puts tokens on both sides: accuracies and the correlation by hand."""
    raw = save_with_habit(tmp_path / "model", "bytes", "both")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    results = evaluate_model(tmp_path / "model", ["lmeff_pairs", *list(TASKS)[1:]], tmp_path / "out", paths=paths)
    requests = asked(tmp_path / "model", paths)
    by_document: dict[tuple[str, int], list[float]] = {}
    lengths: dict[tuple[str, int], list[int]] = {}
    for one in requests:
        tokens = expected_tokens(raw, *one.args, [BOS])
        by_document.setdefault((one.task_name, one.doc_id), []).append(log_probability(model, *tokens))
        lengths.setdefault((one.task_name, one.doc_id), []).append(len(tokens[1]))
    for task, data in TASKS.items():
        documents = [key for key in by_document if key[0] == task]
        scores = results[task.partition("::")[0]]["results"][task]
        if data == "wug_past":
            preferences = [by_document[key][0] - by_document[key][1] for key in documents]
            assert scores["spearman,none"] == pytest.approx(spearmanr(preferences, [1, 0]).statistic)
            continue
        values = [by_document[key] for key in documents]
        if data == "smallbench":
            values = [np.divide(each, lengths[key]) for each, key in zip(values, documents, strict=True)]
        right = 1 if data == "smallbench" else 0
        assert scores["acc,none"] == pytest.approx(np.mean([np.argmax(each) == right for each in values])), task


def test_a_tokenizer_without_offsets_is_cut_at_the_text_of_the_context(tmp_path):
    slow = slow_tokenizer(tmp_path)
    assert not slow.is_fast
    texts = [("", "unha"), ("un", "happy"), ("anna", " no"), ("no un", "ha"), ("a un", "h")]
    names = [[slow.convert_ids_to_tokens(part) for part in each] for each in split_tokens(slow, texts)]
    assert names == [
        [[], ["un@@", "h@@", "a"]],
        [["un@@"], ["ha@@", "p@@", "p@@", "y"]],
        [["a@@", "n@@", "n@@", "a"], ["n@@", "o"]],
        [["n@@", "o", "un@@"], ["h@@", "a"]],
        [["a", "un@@"], ["h"]],
    ]


def test_bytes_of_a_tokenizer_that_ends_texts_are_the_answers_own():
    slow = ByT5Tokenizer()
    assert slow("a")["input_ids"][-1] == slow.eos_token_id
    assert split_tokens(slow, [("ab", " é")]) == [([100, 101], [35, 198, 172])]


def test_an_unknown_word_that_reaches_into_the_answer_is_scored(tmp_path):
    """Its id is that of the unknown word at the context's end, so that counting would leave it to the context."""
    raw = save_with_habit(tmp_path, "word pieces", "none")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    unknown = raw.token_to_id("<unk>")
    ((read, scored),) = split_tokens(tokenizer, [("the ££", "££ old")])
    assert (read, scored) == ([raw.token_to_id("the")], [unknown, raw.token_to_id("old")])


def without_specials(folder: Path, *names: str) -> AutoTokenizer:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for name in names:
        setattr(tokenizer, name, None)
    return tokenizer


def test_without_a_bos_token_all_texts_begin_with_the_end_token(paths, tmp_path):
    save_with_habit(tmp_path, "bytes", "none")
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    requests = asked(tmp_path, paths)
    ours = LmeffLM(model, tokenizer=without_specials(tmp_path, "bos_token"))
    assert {read[0] for _, read, _ in ours.token_requests(requests)} == {EOS}
    bare = LmeffLM(model, tokenizer=without_specials(tmp_path, "bos_token", "eos_token"))
    with pytest.raises(InputError, match="neither a BOS nor an EOS token"):
        bare.loglikelihood(requests)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context_start": "eos"}, "context_start=eos: bos or tokenizer"),
        ({"add_bos_token": False}, "add_bos_token=false contradicts context_start=bos"),
        (
            {"add_bos_token": True, "context_start": "tokenizer"},
            "add_bos_token=true contradicts context_start=tokenizer; it is what context_start=bos does",
        ),
    ],
)
def test_what_a_context_cannot_begin_with_is_told(options, message, tmp_path):
    save_with_habit(tmp_path, "bytes", "none")
    with pytest.raises(InputError, match=message):
        LmeffLM(str(tmp_path), device="cpu", **options)


def test_a_context_that_fills_the_model_loses_its_beginning_and_no_answer(tmp_path):
    raw = save_with_habit(tmp_path, "bytes", "both")
    save_llama(tmp_path, raw.get_vocab_size(), max_position_embeddings=16)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    context, answer = " ".join(SENTENCES), " unhappily no"
    read, scored = expected_tokens(raw, context, answer, [BOS])
    ours = load_model(tmp_path, "cpu", progress=False)
    (found,) = ours.loglikelihood([Instance("loglikelihood", {}, (context, answer), 0, metadata=("task", 0, 1))])
    kept = (read + scored)[-17:]
    assert found[0] == pytest.approx(log_probability(model, kept[: -len(scored)], scored), abs=2e-4)
