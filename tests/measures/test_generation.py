"""Generation: what is written does not depend on the batch, what is measured is right, and results are found again."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluation.small_models import save_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    GPT2Config,
    GPT2LMHeadModel,
    RwkvConfig,
    RwkvForCausalLM,
)

from lmeff.analysis.reading.results import read_texts
from lmeff.cli import main
from lmeff.measures.generation.generate import Sampling, TextRequest, _Chooser, generate, uniform_numbers
from lmeff.measures.generation.prompts import DEFAULT_PROMPTS, read_prompts
from lmeff.measures.generation.statistics import (
    accuracy,
    consistency,
    distinct,
    is_expected,
    overlap,
    repetition,
    self_bleu,
)

PROMPTS = ("Anna", "Boris sees the old doctors", "Elena helps Carla. Farid hides Dmitri. The old doctors", "who")
SAMPLING = Sampling(max_new_tokens=12, temperature=0.8, top_p=0.95, seed=0)


@pytest.fixture(scope="module")
def parts(model_folder):
    return AutoModelForCausalLM.from_pretrained(model_folder).eval(), AutoTokenizer.from_pretrained(model_folder)


def texts_of(parts, requests, batch_size=32, sampling=SAMPLING) -> list[str]:
    return [answer.text for answer in generate(*parts, requests, sampling, batch_size)]


def greedy_by_hand(model, tokenizer, prompt: str, num_tokens: int) -> list[int]:
    """One full forward pass for each token; no cache, no padding."""
    ids = [0, *tokenizer(prompt, add_special_tokens=False)["input_ids"]]
    written: list[int] = []
    with torch.no_grad():
        while len(written) < num_tokens:
            token = int(model(torch.tensor([ids + written])).logits[0, -1].argmax())
            if token == 1:
                break
            written.append(token)
    return written


@pytest.mark.medium
def test_a_model_that_reads_padding_gets_none(parts):
    config = RwkvConfig(vocab_size=600, hidden_size=32, num_hidden_layers=2, context_length=128)
    torch.manual_seed(0)
    model = RwkvForCausalLM(config).eval()
    for weight in model.parameters():
        weight.data += 0.3 * torch.randn_like(weight)
    requests = [TextRequest(prompt, None) for prompt in PROMPTS]
    alone = [texts_of((model, parts[1]), [request])[0] for request in requests]
    assert texts_of((model, parts[1]), requests) == alone
    assert len(set(alone)) > 1


def test_prompts_of_different_length_together_are_completed_as_alone(parts):
    model, tokenizer = parts
    together = generate(model, tokenizer, [TextRequest(prompt, None) for prompt in PROMPTS], SAMPLING, 4)
    for prompt, answer in zip(PROMPTS, together, strict=True):
        wanted = greedy_by_hand(model, tokenizer, prompt, 12)
        assert answer.num_tokens == len(wanted)
        whole = tokenizer.decode(tokenizer(prompt, add_special_tokens=False)["input_ids"] + wanted)
        assert answer.text == whole.removeprefix(
            tokenizer.decode(tokenizer(prompt, add_special_tokens=False)["input_ids"])
        )


@pytest.mark.medium
def test_a_sample_depends_on_its_prompt_and_number_alone(parts):
    requests = [TextRequest(prompt, sample) for prompt in PROMPTS for sample in range(3)]
    together = texts_of(parts, requests)
    assert len(set(together)) == 12
    for batch_size in (1, 5):
        assert texts_of(parts, requests, batch_size) == together
    assert texts_of(parts, requests[::-1], 4) == together[::-1]
    assert texts_of(parts, requests[4:5]) == together[4:5]
    other = Sampling(12, 0.8, 0.95, seed=1)
    assert not set(texts_of(parts, requests, sampling=other)) & set(together)
    longer = texts_of(parts, requests, sampling=Sampling(20, 0.8, 0.95, seed=0))
    assert all(text.startswith(shorter) for text, shorter in zip(longer, together, strict=True))


def test_tokens_are_drawn_as_often_as_the_nucleus_says():
    """Against transformers' own temperature and nucleus."""
    from transformers import TemperatureLogitsWarper, TopPLogitsWarper

    logits = torch.tensor([[2.0, 0.5, 1.0, -1.0, 0.0, -3.0]])
    number = 20_000
    uniforms = torch.from_numpy(np.random.default_rng(0).random((number, 1)))
    chooser = _Chooser(uniforms, torch.zeros(number, dtype=torch.bool), Sampling(1, 0.7, 0.9, 0))
    drawn = chooser(torch.zeros(number, 1), logits.expand(number, -1)).argmax(-1)
    wanted = TopPLogitsWarper(0.9)(None, TemperatureLogitsWarper(0.7)(None, logits)).softmax(-1)[0]
    assert (wanted == 0).sum() == 3
    shares = torch.bincount(drawn, minlength=6) / number
    assert (shares[wanted == 0] == 0).all()
    assert shares.numpy() == pytest.approx(wanted.numpy(), abs=0.01)
    probabilities = logits.softmax(-1)[0]
    assert chooser.top_probabilities[0][0] == pytest.approx(probabilities.max().item())
    assert chooser.entropies[0][0] == pytest.approx(-(probabilities * probabilities.log()).sum().item(), rel=1e-5)


def test_random_numbers_are_even_and_differ_by_seed_prompt_and_sample():
    first = uniform_numbers(0, "a", 0, 20_000)
    assert 0 <= first.min() < first.max() < 1
    assert abs(first.mean() - 0.5) < 0.01
    assert (uniform_numbers(0, "a", 0, 5) == first[:5]).all()
    for other in (uniform_numbers(1, "a", 0, 5), uniform_numbers(0, "b", 0, 5), uniform_numbers(0, "a", 1, 5)):
        assert not set(other) & set(first)


def test_a_text_stops_at_its_end_and_the_others_of_the_batch_go_on(parts):
    """Nearly every token as likely as any other, so that some of 16 texts of 90 tokens meet their end."""
    requests = [TextRequest(prompt, sample) for prompt in PROMPTS for sample in range(4)]
    answers = generate(*parts, requests, Sampling(90, 100.0, 1.0, 0), 16)
    assert {answer.finished for answer in answers} == {"eos", "length"}
    for answer in answers:
        assert (answer.num_tokens == 90) == (answer.finished == "length")
        assert len(answer.entropies) == answer.num_tokens + (answer.finished == "eos")
        assert "</s>" not in answer.text
        assert "<pad>" not in answer.text


def test_the_models_own_settings_for_generation_are_not_used(parts):
    model, _ = parts
    wanted = texts_of(parts, [TextRequest(PROMPTS[1], None)])
    before = model.generation_config
    model.generation_config = GenerationConfig(repetition_penalty=50.0, do_sample=True, temperature=9.0, eos_token_id=1)
    try:
        assert texts_of(parts, [TextRequest(PROMPTS[1], None)]) == wanted
    finally:
        model.generation_config = before


def test_where_a_model_has_no_more_room_a_text_ends(model_folder, tmp_path):
    """GPT-2's learned positions: one too many is an error inside the model."""
    torch.manual_seed(0)
    sizes = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 24}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=600, bos_token_id=0, eos_token_id=599, **sizes)).eval()
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    requests = [TextRequest(prompt, None) for prompt in PROMPTS]
    sampling = Sampling(18, 1.0, 1.0, 0)
    together = generate(model, tokenizer, requests, sampling, 4)
    alone = [generate(model, tokenizer, [request], sampling, 1)[0] for request in requests]
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    sizes = [1 + len(tokenizer(prompt, add_special_tokens=False)["input_ids"]) for prompt in PROMPTS]
    assert max(sizes) + 18 > 24 >= min(sizes) + 18
    for answer, size in zip(together, sizes, strict=True):
        assert answer.finished == ("context" if size + 18 > 24 else "length")
        assert answer.num_tokens == min(18, 24 - size)
    with pytest.raises(Exception, match="tokens with BOS; the model takes 24 in all"):
        generate(model, tokenizer, [TextRequest(" ".join(PROMPTS * 3), None)], sampling, 1)


def test_diversity_and_repetition_by_hand():
    texts = ["a b a b a b", "The cat. the CAT."]
    assert distinct(texts, 1) == 5 / 12
    assert distinct(texts, 2) == (2 + 3) / (5 + 5)
    assert repetition(texts, 2) == pytest.approx(((1 - 2 / 5) + (1 - 3 / 5)) / 2)
    assert repetition(["a b c", "a b c d"], 4) == 0
    assert repetition(["a b"], 3) is None
    assert distinct([""], 1) is None


@pytest.mark.medium
def test_self_bleu_is_1_for_one_text_again_and_again_and_0_for_nothing_in_common():
    same = "the old man went home and slept"
    assert self_bleu([same] * 3) == pytest.approx(1)
    assert self_bleu(["a b c d e", "f g h i j"]) < 0.1
    # Clipped precisions 4/5, 2/4, 1/3 and, smoothed, 1/(2*2); equally long, so no brevity penalty (Papineni et al. 2002).
    assert self_bleu(["a b c x d", "a b c y d"]) == pytest.approx((4 / 5 * 2 / 4 * 1 / 3 * 1 / 4) ** 0.25)
    assert self_bleu([same]) is None
    assert 0 < self_bleu([f"{same} {number} times" for number in range(1000)]) < 1


@pytest.mark.parametrize(
    ("prompt", "text", "right"),
    [
        ("The capital of France is", " Paris, where", True),
        ("The capital of France is", "\n  paris", True),
        ("The capital of France is", ' "Paris"', True),
        ("The capital of France is", " London, not Paris", False),
        ("The capital of France is", " Parisian", False),
        ("The capital of France is", "Paris", False),  # the prompt's last word goes on: isParis
        ("The capital of France is ", "Paris", True),
        ("The capital of France is", " new   York", True),
        ("The capital of France is", "", False),
    ],
)
def test_a_completion_is_right_when_it_begins_with_an_expected_word(prompt, text, right):
    assert is_expected(prompt, text, ["Paris", "New York"]) is right


def test_consistency_is_held_against_what_all_answers_share():
    assert overlap("the cat sat.", "The cat ran!") == 2 / 4
    assert overlap("", "...") == 0
    alike = consistency({"a": ["the the", "the"], "b": ["the", "the the the"]})
    assert alike == (1, 1)
    apart = consistency({"a": ["cold and wet", "cold and wet"], "b": ["she came home", "she came late"]})
    assert apart == (pytest.approx((1 + 2 / 4) / 2), 0)
    assert consistency({"a": ["x", "x"]}) == (1, None)
    assert accuracy([True, False, True, True]) == (0.75, pytest.approx((0.75 * 0.25 / 3) ** 0.5))


def test_the_prompts_that_come_with_it_are_what_the_readme_says():
    prompts = read_prompts(DEFAULT_PROMPTS)
    assert len(prompts) == 38
    assert sum(bool(prompt.expected) for prompt in prompts) == 10
    assert len({prompt.group for prompt in prompts} - {None}) == 3


def run(*words: object) -> int:
    return main(["generate", *map(str, words)])


@pytest.fixture
def prompts(tmp_path) -> Path:
    path = tmp_path / "mine.jsonl"
    records = [
        {"prompt": "Anna sees"},
        {"prompt": "Boris hears", "expected": ["nothing", "Elena"]},
        {"prompt": "The doctors", "group": "doctors"},
        {"prompt": "The old doctors", "group": "doctors"},
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_a_result_holds_measures_and_beside_it_the_texts(model_folder, prompts, tmp_path, capsys):
    out = tmp_path / "out"
    words = (model_folder, "--prompts", prompts, "--max-new-tokens", 8, "--samples", 2, "--output", out)
    assert run(*words, "--json") == 0
    (result,) = json.loads(capsys.readouterr().out).values()
    assert result == json.loads((out / "generation.json").read_text())
    assert result["lmeff"]["device"] == (torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu")
    records = [json.loads(line) for line in (out / "generations.jsonl").read_text().splitlines()]
    assert [(record["prompt"], record["sample"]) for record in records] == [
        ("Anna sees", 0), ("Anna sees", 1), ("Boris hears", 0), ("Boris hears", 1), ("Boris hears", None),
        ("The doctors", 0), ("The doctors", 1), ("The doctors", None),
        ("The old doctors", 0), ("The old doctors", 1), ("The old doctors", None),
    ]  # fmt: skip
    sampled = [record for record in records if not record["greedy"]]
    scores = result["results"]["generation"]
    assert scores["distinct_2,none"] == distinct([record["text"] for record in sampled], 2)
    assert scores["num_tokens,none"] == sum(record["num_tokens"] for record in sampled) / 8
    assert result["n-samples"]["generation"]["effective"] == 8
    assert result["results"]["generation_completion"]["completion_accuracy,none"] in (0, 1)
    greedy = [record["text"] for record in records if record["greedy"] and record.get("group")]
    assert result["results"]["generation_consistency"]["consistency,none"] == overlap(*greedy)
    assert str(tmp_path) not in json.dumps(result)
    before = (out / "generation.json").stat().st_mtime_ns
    assert run(*words, "--batch-size", 1) == 0
    legend, header, *_ = capsys.readouterr().out.splitlines()
    assert header.endswith("right  consistent (across)")
    assert legend == (
        "right: greedy completions that begin with an expected answer; "
        "consistent: overlap of words within a group (across groups in brackets)"
    )
    assert (out / "generation.json").stat().st_mtime_ns == before
    texts = (out / "generations.jsonl").read_text()
    (out / "generations.jsonl").write_text("damaged")
    assert run(*words, "--batch-size", 1) == 0
    assert (out / "generations.jsonl").read_text() == texts
    assert run(*words[:-2], "--greedy", "--output", out) == 0
    records = [json.loads(line) for line in (out / "generations.jsonl").read_text().splitlines()]
    assert [record["greedy"] for record in records] == [True] * 4


def test_a_twin_beside_it_takes_its_texts_over(model_folder, prompts, tmp_path):
    words = (model_folder, "--prompts", prompts, "--max-new-tokens", 4, "--samples", 1, "--output")
    assert run(*words, tmp_path / "one") == 0
    path = tmp_path / "one" / "generation.json"
    path.write_text(path.read_text().replace('"alias": "generation"', '"alias": "known"'))
    assert run(*words, tmp_path / "two") == 0
    for name in ("generation.json", "generations.jsonl"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    for name in ("one", "two"):
        (tmp_path / name / "generations.jsonl").write_text("damaged")
    assert run(*words, tmp_path / "three") == 0
    assert "known" not in (tmp_path / "three" / "generation.json").read_text()


def test_texts_of_other_prompts_are_not_replaced(model_folder, prompts, tmp_path, capsys):
    out, words = tmp_path / "out", ("--max-new-tokens", 3, "--samples", 1, "--output", tmp_path / "out")
    assert run(model_folder, "--prompts", prompts, *words) == 0
    before = [(out / name).read_bytes() for name in ("generation.json", "generations.jsonl")]
    other = tmp_path / "other.txt"
    other.write_text("Carla\n")
    capsys.readouterr()
    assert run(model_folder, "--prompts", other, *words) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "generation.json: holds the result of other prompts; name this one with --name NAME" in line
    assert run(model_folder, "--prompts", prompts, *words, "--name", "mine") == 0
    assert run(model_folder, "--prompts", other, *words, "--name", "other") == 0
    assert [(out / name).read_bytes() for name in ("generation.json", "generations.jsonl")] == before
    assert (out / "generations_mine.jsonl").read_bytes() == before[1]
    assert json.loads((out / "generations_other.jsonl").read_text())["prompt"] == "Carla"
    mine = json.loads((out / "generation_mine.json").read_text())["results"]
    assert set(mine) == {"generation_mine", "generation_mine_completion", "generation_mine_consistency"}
    for name in ("completion", "../x"):
        assert run(model_folder, *words, "--name", name) == 2


def test_only_a_newline_ends_a_line(model_folder, tmp_path):
    text = "Anna\u2028sees\x85the\u2029doctors"
    path, out = tmp_path / "p.jsonl", tmp_path / "out"
    path.write_text(json.dumps({"prompt": text}, ensure_ascii=False) + "\r\n")
    assert run(model_folder, "--prompts", path, "--max-new-tokens", 3, "--samples", 1, "--output", out) == 0
    (found,) = read_texts(out / "generations.jsonl")
    assert found.prompt == text


def test_a_text_file_holds_a_prompt_a_line(model_folder, tmp_path, capsys):
    (tmp_path / "p.txt").write_text("Anna sees\n\nBoris {hears}  \n")
    assert run(model_folder, "--prompts", tmp_path / "p.txt", "--max-new-tokens", 3, "--output", tmp_path / "out") == 0
    records = [json.loads(line) for line in (tmp_path / "out" / "generations.jsonl").read_text().splitlines()]
    assert {record["prompt"] for record in records} == {"Anna sees", "Boris {hears}"}
    header, row, *shown, place = capsys.readouterr().out.strip().splitlines()
    assert [line.partition(" |")[0].strip() for line in shown[1:]] == ["Anna sees", "Boris {hears}"]
    assert place == f"all 6 texts: {tmp_path / 'out' / 'generations.jsonl'}"
    assert header.split()[:2] == ["revision", "distinct-1"]
    assert "right" not in header
    assert len(row.split()) == len(header.split())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"prompt": "a"}\n{"prompt"', "p.jsonl:2: not readable as JSON"),
        ('{"text": "a"}', "p.jsonl:1: must be an object with a text called prompt"),
        ('{"prompt": "a", "expected": [1]}', "expected must be a list of texts"),
        ('{"prompt": "a"}\n{"prompt": "a"}', "p.jsonl:2: stands there already: 'a'"),
        ('{"prompt": "a", "group": "x"}', "group 'x' has one prompt"),
        ("\n", "holds no prompt"),
    ],
)
def test_mistakes_in_prompts_are_told_in_a_line(model_folder, tmp_path, capsys, content, said):
    path = tmp_path / "p.jsonl"
    path.write_text(content)
    assert run(model_folder, "--prompts", path, "--output", tmp_path / "out") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert said in line
    assert run(model_folder, "--prompts", tmp_path / "nowhere.txt") == 2


def test_a_model_without_finite_probabilities_is_named(tmp_path, prompts, capsys):
    model = save_model(tmp_path / "model")
    with torch.no_grad():
        model.lm_head.weight.fill_(float("nan"))
    model.save_pretrained(tmp_path / "model")
    assert run(tmp_path / "model", "--prompts", prompts, "--output", tmp_path / "out") == 1
    assert (
        "model: cannot be scored: ValueError: the model gives probabilities that are not finite"
        in capsys.readouterr().out
    )
    assert not (tmp_path / "out" / "generation.json").exists()
