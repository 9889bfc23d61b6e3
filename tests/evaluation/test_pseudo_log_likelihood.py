"""Masked models, and hybrids where that is asked for, by pseudo-log-likelihood."""

import copy
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from evaluation.masked_models import HYBRIDS, MASK, MASKED, OTHERS, loud_model, masking_tokenizer, save_masking
from evaluation.small_models import NAMES, VERBS
from lm_eval.api.instance import Instance
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, BertLMHeadModel

from lmeff.cli import main
from lmeff.errors import InputError
from lmeff.evaluation.harness import Evaluation
from lmeff.evaluation.scorer.language_model import LmeffLM
from lmeff.evaluation.scorer.masked.masked_rows import mask_tokens
from lmeff.evaluation.scorer.ways import way_of_folder
from lmeff.measures.scores.measure import Scores
from lmeff.measures.selection import SelectedModel
from lmeff.recipe.sections.evaluation import Evaluation as Section

ASKED = "pseudo_log_likelihood"
START, END = 1, 2
VARIANTS = {"pseudo_log_likelihood": "within_word_l2r", "pseudo_log_likelihood_original": "original"}
WORDS = ("themselves", "himself", "unhappily", "x", "doctors")


def sentence_pairs(count: int) -> list[tuple[str, str]]:
    """Minimal pairs of several lengths, also in tokens."""
    return [
        tuple(
            f"{NAMES[n % 6]} {VERBS[n % 7]} the old {'very ' * (n % 4)}{WORDS[(n + place) % 5]} who thought."
            for place in (0, 1)
        )
        for n in range(count)
    ]


PAIRS = sentence_pairs(50)


def asked(*texts: tuple[str, str]) -> list[Instance]:
    return [Instance("loglikelihood", {}, text, 0) for text in texts]


def literal(model, tokenizer, text: tuple[str, str], variant: str) -> float:
    """One token at a time, each in a row of its own, in float64."""
    context, answer = text
    encoded = tokenizer(context + answer, add_special_tokens=False, return_offsets_mapping=True)
    own, words = encoded["input_ids"], encoded.word_ids()
    rows, places = [], []
    for place, (_, stop) in enumerate(encoded["offset_mapping"]):
        if stop <= len(context):
            continue
        row = [START, *own, END]
        row[place + 1] = MASK
        if variant == "within_word_l2r":
            for later in range(place + 1, len(own)):
                if words[later] == words[place]:
                    row[later + 1] = MASK
        rows.append(row)
        places.append(place)
    ids, more, ahead = torch.tensor(rows), {}, 0
    if type(model.config) in map(type, HYBRIDS.values()):
        length = len(own) + 2
        more, ahead = {"attention_mask": torch.ones(len(rows), 1, length, length, dtype=torch.bool)}, 1
    with torch.no_grad():
        logits = model(ids, **more).logits
    # A hybrid says the next token, so it is asked one place before.
    return sum(
        float(of_row[place + 1 - ahead].log_softmax(-1)[own[place]])
        for of_row, place in zip(logits, places, strict=True)
    )


@pytest.mark.medium
@pytest.mark.parametrize("scoring", VARIANTS)
@pytest.mark.parametrize("kind", [*MASKED, *HYBRIDS])
def test_each_token_of_fifty_pairs_is_masked_by_itself(kind, scoring):
    model, tokenizer = loud_model({**MASKED, **HYBRIDS}[kind]), masking_tokenizer()
    texts = [("", text) for pair in PAIRS for text in pair]
    texts += [
        ("Anna sees the old", " doctors who thought."),
        ("Anna sees the old doc", "tors."),
        ("Boris", " themselves"),
    ]
    ours = LmeffLM(model, tokenizer=tokenizer, scoring=scoring, batch_size=5)
    exact = copy.deepcopy(model).double()
    expected = [literal(exact, tokenizer, text, VARIANTS[scoring]) for text in texts]
    assert [value for value, _ in ours.loglikelihood(asked(*texts))] == pytest.approx(expected, abs=1e-4)
    assert len({round(value, 3) for value in expected}) > 12


@pytest.mark.medium
@pytest.mark.parametrize("scoring", VARIANTS)
@pytest.mark.parametrize("kind", MASKED)
def test_fifty_pairs_are_scored_as_minicons_does(kind, scoring):
    from minicons.scorer import MaskedLMScorer  # which imports much

    model, tokenizer = loud_model(MASKED[kind]), masking_tokenizer()
    texts = [text for pair in PAIRS for text in pair]
    theirs = MaskedLMScorer(model, "cpu", tokenizer=tokenizer)
    encoded = tokenizer(texts, return_tensors="pt", padding=True)  # which its own `encode` cannot with transformers 5
    tables = theirs.compute_stats(theirs.prepare_text(encoded, PLL_metric=VARIANTS[scoring]), return_tensors=True)
    expected = [table.sum().item() for table in tables]
    ours = LmeffLM(model, tokenizer=tokenizer, scoring=scoring).loglikelihood(asked(*(("", text) for text in texts)))
    assert [value for value, _ in ours] == pytest.approx(expected, abs=1e-4)
    differences = np.diff(np.array(expected).reshape(-1, 2))[:, 0]
    assert np.abs(differences).min() > 1e-3


def test_equal_masked_copies_are_computed_once():
    """Two sentences that differ in their last token alone share the copies in which that is masked."""
    requests = [(None, [START, 9], [5, 6, 7]), (None, [START, 9], [5, 6, 8])]
    rows = mask_tokens(requests, None, MASK, END, 20)
    assert [row.tolist() for row in rows.rows] == [
        [START, 9, MASK, 6, 7, END],
        [START, 9, 5, MASK, 7, END],
        [START, 9, 5, 6, MASK, END],
        [START, 9, MASK, 6, 8, END],
        [START, 9, 5, MASK, 8, END],
    ]
    assert rows.edge_rows.tolist() == [0, 1, 2, 3, 4, 2]
    assert rows.edge_tokens.tolist() == [5, 6, 7, 5, 6, 8]
    in_one_word = mask_tokens(requests, [[3, 3, 3], [3, 4, 4]], MASK, None, 20)
    assert [row.tolist() for row in in_one_word.rows] == [
        [START, 9, MASK, MASK, MASK],
        [START, 9, 5, MASK, MASK],
        [START, 9, 5, 6, MASK],
        [START, 9, MASK, 6, 8],
    ]
    assert in_one_word.edge_rows.tolist() == [0, 1, 2, 3, 1, 2]


def test_a_context_that_is_too_long_keeps_what_every_text_begins_with():
    ((row, *_), places) = (
        (rows := mask_tokens([(None, [START, 5, 6, 7, 8], [9, 10])], None, MASK, END, 5)).rows,
        rows.places,
    )
    assert row.tolist() == [START, 7, 8, MASK, 10, END]
    assert places.tolist() == [3, 4]


@pytest.mark.medium
@pytest.mark.parametrize("kind", ["bert", "roberta", "modernbert", "llama"])
def test_padding_and_batches_change_nothing(kind):
    model, tokenizer = loud_model({**MASKED, **HYBRIDS}[kind]), masking_tokenizer()
    texts = asked(*(("", f"Anna {'very ' * n}sees.") for n in range(6)))
    answers = [
        [value for value, _ in LmeffLM(model, tokenizer=tokenizer, batch_size=size, scoring=ASKED).loglikelihood(texts)]
        for size in (1, 64)
    ]
    assert answers[0] == pytest.approx(answers[1], abs=2e-5)


def test_greedy_answers_are_those_whose_tokens_are_all_the_most_probable():
    model, tokenizer = loud_model(MASKED["bert"]), masking_tokenizer()
    text = "Anna sees the old doctors"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        best = int(model(torch.tensor([[START, *ids, MASK, END]])).logits[0, -2].argmax())
    request = [(None, [START, *ids], [best]), (None, [START, *ids], [(best + 1) % 300])]
    ours = LmeffLM(model, tokenizer=tokenizer, scoring="pseudo_log_likelihood_original")
    assert [greedy for _, greedy in ours.answer_tokens(request)] == [True, False]


def test_a_tokenizer_that_knows_no_words_is_told(tmp_path):
    tokenizer = masking_tokenizer()
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False)
    model, text = loud_model(MASKED["bert"]), asked(("", "Anna sees Boris."))
    with pytest.raises(
        InputError, match=r"takes 'Anna sees Boris\.' for one word, .* scoring pseudo_log_likelihood_original"
    ):
        LmeffLM(model, tokenizer=tokenizer).loglikelihood(text)
    assert LmeffLM(model, tokenizer=tokenizer, scoring="pseudo_log_likelihood_original").loglikelihood(text)


@pytest.mark.parametrize(
    ("text", "said"), [("Anna sees Boris, she says.", "Anna sees Boris"), ("Yes, no!", "the cat sat")]
)
def test_a_tokenizer_that_divides_at_punctuation_alone_is_told(text, said):
    """Whole clauses would be taken for words; in the second text nothing shows it."""
    tokenizer = masking_tokenizer()
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Punctuation(), byte_level])
    with pytest.raises(InputError, match=rf"takes '{said}.*' for one word, so it does not tell"):
        LmeffLM(loud_model(MASKED["bert"]), tokenizer=tokenizer).loglikelihood(asked(("", text)))


# ---- folders, verbs, results


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("masked")
    for name, config in {"bert": MASKED["bert"], "llama": HYBRIDS["llama"], **OTHERS}.items():
        save_masking(root / name, config, frames=name == "bert")
    return root


@pytest.mark.medium
def test_results_say_how_and_are_gone_on_with(folders, mini_blimp, tmp_path):
    """F22: killed between two paradigms, the rest is done, and the files are the same."""
    options = {"tasks": ("lmeff_blimp_adjunct_island", "lmeff_blimp_wh_island"), "paths": {"blimp": str(mini_blimp)}}
    whole = Evaluation(folders / "bert", output=tmp_path / "whole" / "a", **options).run()
    calls = []

    def stop():
        calls.append(1)
        if len(list((tmp_path / "killed").glob("a/.parts/*.json"))):
            raise KeyboardInterrupt

    killed = Evaluation(folders / "bert", output=tmp_path / "killed" / "a", before_batch=stop, **options)
    with pytest.raises(KeyboardInterrupt):
        killed.score()
    assert len(list((tmp_path / "killed" / "a" / ".parts").glob("*.json"))) == 1
    done = Evaluation(folders / "bert", output=tmp_path / "killed" / "a", **options).run()
    assert {task: one["results"] for task, one in done.items()} == {task: one["results"] for task, one in whole.items()}
    for task, result in done.items():
        settings = result["lmeff"]["settings"]
        assert (settings["scoring"], settings["scoring_variant"]) == (ASKED, "within_word_l2r")
        tables = [pq.read_table(tmp_path / name / "a" / "pairs" / f"{task}.parquet") for name in ("whole", "killed")]
        assert tables[0].equals(tables[1])
    for scoring in ("auto", "pseudo_log_likelihood"):  # which is the same of a masked model
        assert (
            len(Evaluation(folders / "bert", output=tmp_path / "whole" / "a", scoring=scoring, **options).cached()) == 2
        )
    other = Evaluation(
        folders / "bert", output=tmp_path / "whole" / "a", scoring="pseudo_log_likelihood_original", **options
    )
    assert not other.cached()


@pytest.mark.medium
def test_a_hybrid_is_scored_causally_unless_asked(folders, mini_blimp, tmp_path, capsys):
    task = "lmeff_blimp_adjunct_island"
    words = [
        "eval",
        str(folders / "llama"),
        "--tasks",
        task,
        "--path",
        f"blimp={mini_blimp}",
        "--output",
        str(tmp_path),
    ]
    assert main(words) == 0
    (path,) = tmp_path.rglob(f"{task}.json")
    causal = json.loads(path.read_text())["lmeff"]["settings"]
    assert "scoring" not in causal
    assert main([*words, "--scoring", "causal"]) == 0
    assert main([*words, "--scoring", "pseudo_log_likelihood"]) == 0
    again = f"scored again with scoring pseudo_log_likelihood (within_word_l2r); it was scored on {task} with scoring causal"
    assert capsys.readouterr().out.count(again) == 1
    pseudo = json.loads(path.read_text())["lmeff"]["settings"]
    assert pseudo == causal | {"scoring": "pseudo_log_likelihood", "scoring_variant": "within_word_l2r"}
    table = pq.read_table(path.parent / "pairs" / f"{task}.parquet").to_pydict()
    pair = json.loads((mini_blimp / "adjunct_island.jsonl").read_text().splitlines()[1])
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folders / "llama").double(), masking_tokenizer()
    expected = literal(model, tokenizer, ("", pair["sentence_good"]), "within_word_l2r")
    assert table["good"][1] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("there", "asked_for"),
    [({}, ASKED), ({"scoring": ASKED, "scoring_variant": "within_word_l2r"}, "causal"), ({}, "auto")],
)
def test_scores_of_another_way_replace_none_that_are_there(folders, tmp_path, there, asked_for):
    task = "lmeff_blimp_adjunct_island"
    path = tmp_path / f"{task}.json"
    path.write_text(json.dumps({"lmeff": {"settings": {"limit": None, **there}}}))
    models = [SelectedModel(folders / "llama", tmp_path)]
    section = Section(tasks=[task], scoring=asked_for)
    Scores(section, keep=False).prepare(models, print)
    if asked_for == "auto":  # is causal
        Scores(section).prepare(models, print)
        return
    known, new = ("causal", f"{ASKED} (within_word_l2r)")[:: 1 if asked_for == ASKED else -1]
    with pytest.raises(InputError) as refused:
        Scores(section).prepare(models, print)
    assert str(refused.value) == (
        f"--scoring: {path} holds the result of scoring {known}, which that of {new} would replace; give this one a folder with"
        " --output DIR"
    )


@pytest.mark.parametrize(
    ("kind", "scoring", "said"),
    [
        ("bert", "causal", "a BertForMaskedLM that is no decoder: later tokens change what it says of earlier ones"),
        (
            "xlnet",
            "causal",
            "later tokens change what a XLNetLMHeadModel says of earlier ones, unless its masks hide them",
        ),
        ("xlnet", "pseudo_log_likelihood", "unless its masks hide them, as `lmeff eval` does with scoring auto"),
        ("mamba2", "pseudo_log_likelihood", "no attention mask makes a Mamba2ForCausalLM look at later tokens"),
        ("no mask", "pseudo_log_likelihood", "its tokenizer has no mask token"),
        ("no embedding", "pseudo_log_likelihood", "it has no embedding of its tokenizer's <another mask>"),
        ("masked without mask", "auto", "no decoder: .* and its tokenizer has no mask token"),
        ("lm head", "auto", "a BertLMHeadModel that is no decoder: .* it has no head that predicts masked tokens"),
    ],
)
def test_what_a_model_cannot_is_one_line(folders, own_model, tmp_path, kind, scoring, said):
    folder = folders / kind
    if kind == "no mask":
        folder = own_model
    elif kind == "no embedding":
        loud_model(HYBRIDS["llama"]).save_pretrained(folder := tmp_path / "model")
        (tokenizer := masking_tokenizer()).add_special_tokens({"mask_token": "<another mask>"})
        tokenizer.save_pretrained(folder)
    elif kind == "masked without mask":
        loud_model(MASKED["bert"]).save_pretrained(folder := tmp_path / "model")
        AutoTokenizer.from_pretrained(own_model).save_pretrained(folder)
    elif kind == "lm head":
        BertLMHeadModel(MASKED["bert"]).save_pretrained(folder := tmp_path / "model")
        masking_tokenizer().save_pretrained(folder)
    for ask in (
        lambda: way_of_folder(folder, scoring),
        lambda: LmeffLM(str(folder), device="cpu", scoring=scoring),
    ):
        with pytest.raises(InputError, match=said) as error:
            ask()
        assert "\n" not in str(error.value)


def test_what_only_causal_models_can_is_one_line(folders):
    with pytest.raises(InputError, match=r"exact=true is lm-eval's own scoring, which is causal"):
        LmeffLM(str(folders / "bert"), device="cpu", exact=True)
    with pytest.raises(InputError, match="scoring=masked: one of auto, causal, pseudo_log_likelihood, "):
        LmeffLM(str(folders / "bert"), device="cpu", scoring="masked")
    model = LmeffLM(str(folders / "bert"), device="cpu")
    assert model.get_model_info()["scoring"] == "pseudo_log_likelihood"
    assert type(model.model).__name__ == "BertForMaskedLM"
    with pytest.raises(InputError, match="whole texts are scored causally only"):
        model.loglikelihood_rolling([Instance("loglikelihood_rolling", {}, ("Anna sees.",), 0)])
    with pytest.raises(InputError, match="no decoder"):
        model.generate_until([Instance("generate_until", {}, ("Anna", {"until": []}), 0)])
