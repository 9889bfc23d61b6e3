"""`lmeff tokenizer`: what tokenizers make of held-out text, counted by hand where that can be done."""

import json
from pathlib import Path

import pytest
from hub_server import File, HubServer, Repository
from hub_user import hub_environment, lmeff
from launching import ROOT
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from lmeff.cli import main
from lmeff.corpora import prepare_text
from lmeff.errors import InputError
from lmeff.recipe import read_recipe
from lmeff.tokens import prepare_tokenizer, tokenizer_sha256
from lmeff.tokens.report import measures as report
from lmeff.tokens.report.measures import report_tokenizers

TRAIN = ["the cat sat and the dog sat. " * count for count in range(1, 40)]
CATS = "the cat sat"
DOGS = "the dog sat, naïve ﬁne"  # its last word begins with U+FB01, which NFKC makes two letters
RECIPE = """
name: job
corpus: {{name: pets, paths: ['{folder}/train.jsonl'], dev_paths: ['{folder}/dev']}}
tokenizer: {{vocab_size: 259}}
model: {{hidden_size: 32, intermediate_size: 64, num_hidden_layers: 1, num_attention_heads: 1}}
batch: {{tokens: 64, sequence_length: 32}}
anchors: {{tokens: [1k]}}
schedule: {{warmup: 2 steps}}
paths: {{data: '{folder}/data'}}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "dev").mkdir()
    (tmp_path / "train.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in TRAIN))
    (tmp_path / "dev" / "cats.txt").write_text(CATS, encoding="utf-8")
    (tmp_path / "dev" / "dogs.txt").write_text(DOGS, encoding="utf-8")
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.format(folder=tmp_path))
    return path


def word_level(**options) -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "the": 1, "cat": 2, "sat": 3}, **options))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def saved(tokenizer: Tokenizer, folder: Path) -> str:
    """The folder of the tokenizer's tokenizer.json."""
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    return str(folder)


def no_hub(what: str) -> Path:
    raise InputError(f"{what}: not here")


def look(recipe: Path, *beside: str, vocab_sizes: tuple[int, ...] = ()) -> dict:
    return report_tokenizers(read_recipe(recipe).recipe, beside, vocab_sizes, no_hub)


def test_figures_counted_by_hand(recipe: Path, tmp_path: Path) -> None:
    """With 259 entries every byte of the NFKC form is a token, and so is the space before the first word."""
    words = saved(word_level(unk_token="[UNK]"), tmp_path / "words")
    found = look(recipe, words)
    assert (found["format"], len(found["tokenizers"])) == (1, 2)
    cats = {"num_documents": 1, "num_words": 3, "num_bytes": 11, "num_bytes_held_out": 11}
    dogs = {"num_documents": 1, "num_words": 5, "num_bytes": 25, "num_bytes_held_out": 25}
    both = {"num_documents": 2, "num_words": 8, "num_bytes": 36, "num_bytes_held_out": 36}
    assert found["text"] == {"domains": {"cats": cats, "dogs": dogs}, "all": both}

    own, other = found["tokenizers"]
    assert (own["name"], own["is_own"], own["vocab_size"]) == ("bpe-259", True, 259)
    nothing_wrong = {"num_unknown_tokens": 0, "unknown_tokens": 0, "num_documents_not_given_back": 0}
    no_whole_words = {"num_single_token_words": 0, "single_token_words": 0}
    assert own["domains"] == {
        "cats": {"num_tokens": 12, "fertility": 12 / 3, "bytes_per_token": 11 / 12} | no_whole_words | nothing_wrong,
        "dogs": {"num_tokens": 25, "fertility": 25 / 5, "bytes_per_token": 25 / 25} | no_whole_words | nothing_wrong,
    }
    assert (
        own["all"]
        == {"num_tokens": 37, "fertility": 37 / 8, "bytes_per_token": 36 / 37} | no_whole_words | nothing_wrong
    )

    assert (other["name"], other["is_own"], other["vocab_size"]) == (words, False, 4)
    assert other["domains"]["cats"] == nothing_wrong | {
        "num_tokens": 3,
        "fertility": 1,
        "bytes_per_token": 11 / 3,
        "num_single_token_words": 3,
        "single_token_words": 1,
    }
    # the ? sat ? ? ?: `dog`, the comma and the last two words are unknown
    assert other["domains"]["dogs"] == {
        "num_tokens": 6,
        "fertility": 6 / 5,
        "bytes_per_token": 25 / 6,
        "num_single_token_words": 1,
        "single_token_words": 1 / 5,
        "num_unknown_tokens": 4,
        "unknown_tokens": 4 / 6,
        "num_documents_not_given_back": 1,
    }
    assert other["all"]["num_unknown_tokens"] == 4
    assert other["all"]["num_documents_not_given_back"] == 1


def test_merged_words_are_whole_with_the_space_before_them(recipe: Path) -> None:
    """`the`, `cat`, `sat` and `dog` are tokens; in `sat,` the comma is a second one, so it is not whole."""
    (found,) = look(recipe, vocab_sizes=(273,))["tokenizers"]
    assert found["name"] == "bpe-273"
    vocabulary = Tokenizer.from_file(str(next(recipe.parent.glob("data/*/tokenizers/bpe-273.v1/tokenizer.json"))))
    assert {"Ġthe", "Ġcat", "Ġsat", "Ġdog"} <= set(vocabulary.get_vocab())
    assert found["domains"]["cats"]["num_tokens"] == 3
    assert found["domains"]["cats"]["single_token_words"] == 1
    assert found["domains"]["dogs"]["num_single_token_words"] == 2


def test_special_tokens_limits_and_padding_of_others_do_not_count(recipe: Path, tmp_path: Path) -> None:
    dressed = word_level(unk_token="[UNK]")
    dressed.add_special_tokens(["[CLS]"])
    dressed.post_processor = processors.TemplateProcessing("[CLS] $A [CLS]", special_tokens=[("[CLS]", 4)])
    dressed.enable_truncation(2)
    dressed.enable_padding(length=50)
    plain, other = look(
        recipe, saved(word_level(unk_token="[UNK]"), tmp_path / "plain"), saved(dressed, tmp_path / "dressed")
    )["tokenizers"][1:]
    assert plain["domains"] == other["domains"]


def test_the_characters_of_a_special_token_are_text(recipe: Path) -> None:
    (recipe.parent / "dev" / "cats.txt").write_text("</s> <s>")
    (found,) = look(recipe)["tokenizers"]
    assert found["domains"]["cats"]["num_tokens"] == len(" </s> <s>")
    assert found["domains"]["cats"]["num_documents_not_given_back"] == 0


@pytest.mark.parametrize(
    ("normalizer", "text", "not_given_back"),
    [
        (normalizers.NFC(), "cafe\u0301", 0),
        (normalizers.NFD(), "caf\u00e9", 0),
        (normalizers.Lowercase(), "Cafe", 1),
        (normalizers.StripAccents(), "cafe\u0301", 1),
        (None, "Cafe\u0301", 0),
    ],
)
def test_unicode_forms_are_the_same_text_and_lost_letters_are_not(
    recipe: Path, tmp_path: Path, normalizer, text: str, not_given_back: int
) -> None:
    (recipe.parent / "dev" / "cats.txt").write_text(text, encoding="utf-8")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: index for index, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    found = look(recipe, saved(tokenizer, tmp_path / "other"))["tokenizers"][1]
    assert found["domains"]["cats"]["num_documents_not_given_back"] == not_given_back


def test_a_unigram_tokenizer_names_its_unknown_by_number(recipe: Path, tmp_path: Path) -> None:
    unigram = Tokenizer(models.Unigram([("the", -1.0), ("cat", -1.0), ("<unk>", -9.0), ("sat", -1.0)], unk_id=2))
    unigram.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    found = look(recipe, saved(unigram, tmp_path / "unigram"))["tokenizers"][1]
    assert found["domains"]["cats"]["num_unknown_tokens"] == 0
    assert found["domains"]["dogs"]["num_unknown_tokens"] > 0


def test_long_text_is_cut_and_says_so(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [json.dumps({"text": "the cat sat"})] * 30  # 11 bytes each
    (recipe.parent / "dev" / "cats.txt").unlink()
    (recipe.parent / "dev" / "cats.jsonl").write_text("\n".join(lines))
    monkeypatch.setattr(report, "MAX_DOMAIN_BYTES", 100)
    found = look(recipe)
    assert found["text"]["domains"]["cats"] == {
        "num_documents": 9,
        "num_words": 27,
        "num_bytes": 99,
        "num_bytes_held_out": 330,
    }
    assert found["text"]["domains"]["dogs"]["num_documents"] == 1
    assert found["tokenizers"][0]["domains"]["cats"]["num_tokens"] == 9 * 12


def test_the_table_and_the_object_of_the_verb(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = saved(word_level(unk_token="[UNK]"), tmp_path / "words")
    command = ["tokenizer", str(recipe), "tokenizer.sample=12k", "--vocab-sizes", "259,262", "--beside"]
    assert main([*command, words, f"{words}/tokenizer.json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "cats: 1 documents, 3 words, 11 B" in lines
    assert sum(line.split()[0] == "bpe-259-sample-12k" for line in lines if line.startswith("  ")) == 3
    figures = [line.removeprefix(f"  {words} ").split() for line in lines if line.startswith(f"  {words} ")]
    assert figures[1] == ["4", "6", "1.200", "4.167", "20.0%", "4", "(66.7%)", "1"]
    monkeypatch.setattr(report, "MAX_DOMAIN_BYTES", 20)
    assert main([*command, words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in found["tokenizers"]] == ["bpe-259-sample-12k", "bpe-262-sample-12k", words]
    assert found["tokenizers"][0]["domains"]["dogs"]["fertility"] is None
    assert main([*command, words]) == 0
    assert "dogs: 0 documents, 0 words, 0 B, the first of 25 B" in capsys.readouterr().out


def test_mistakes_are_one_line(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    strict = saved(word_level(), tmp_path / "strict")
    for words, code, said in (
        (["--beside", str(empty)], 2, "the folder has no tokenizer.json"),
        (["--beside", str(broken)], 2, "not a readable tokenizer.json"),
        (["--beside", "gpt2"], 2, "nor NAMESPACE/REPO[@REVISION] on the Hub"),
        (["--beside", strict], 1, "cannot encode the text"),
        (["--vocab-sizes", "100"], 2, "259 is the least"),
        (["--vocab-sizes", "90k"], 2, "the training text allows"),
        (["tokenizer.sample=0"], 2, "sample"),
    ):
        assert main(["tokenizer", str(recipe), *words]) == code
        captured = capsys.readouterr()
        assert said in captured.err
        assert len(captured.err.strip().splitlines()) == 1
        assert captured.out == ""


@pytest.mark.medium
def test_a_tokenizer_of_the_hub(recipe: Path, tmp_path: Path) -> None:
    first, second = word_level(unk_token="[UNK]"), word_level(unk_token="[UNK]")
    second.add_tokens(["dog"])
    with HubServer() as hub:
        repository = hub.repositories["someone/words"] = Repository("someone/words", private=False)
        commit = repository.add("main", None, {"tokenizer.json": File(first.to_str().encode(), False)}, "first")
        repository.add("more", commit.oid, {"tokenizer.json": File(second.to_str().encode(), False)}, "second")
        bare = hub.repositories["someone/bare"] = Repository("someone/bare", private=False)
        bare.add("main", None, {"README.md": File(b"none here", False)}, "first")
        variables = hub_environment(hub, tmp_path / "hf")
        answer = lmeff(
            "tokenizer", str(recipe), "--json", "--beside", "someone/words", "someone/words@more", **variables
        )
        assert answer.returncode == 0, answer.stderr
        others = json.loads(answer.stdout)["tokenizers"][1:]
        assert [one["name"] for one in others] == ["someone/words", "someone/words@more"]
        assert [one["domains"]["dogs"]["num_unknown_tokens"] for one in others] == [4, 3]
        for name, said in (
            ("someone/none", "no such repository"),
            ("someone/words@lost", "has no revision 'lost'"),
            ("someone/bare", "has no tokenizer.json"),
        ):
            answer = lmeff("tokenizer", str(recipe), "--beside", name, **variables)
            assert (answer.returncode, len(answer.stderr.strip().splitlines())) == (2, 1), answer.stderr
            assert said in answer.stderr
    # The Hub is gone: what was fetched is still here, what was not is one line.
    answer = lmeff("tokenizer", str(recipe), "--beside", "someone/words", **variables)
    assert answer.returncode == 0, answer.stderr
    for extra in ({}, {"HF_HUB_OFFLINE": "1"}):
        answer = lmeff("tokenizer", str(recipe), "--beside", "someone/other", **variables, **extra)
        assert (answer.returncode, answer.stdout) == (1, ""), answer.stderr
        assert len(answer.stderr.strip().splitlines()) == 1, answer.stderr
        assert "someone/other: its tokenizer.json cannot be fetched" in answer.stderr


@pytest.mark.medium
def test_real_text(shared_data: Path, tmp_path: Path) -> None:
    """Own figures against what transformers' tokenizer counts; a larger vocabulary takes fewer tokens in every domain."""
    from transformers import AutoTokenizer

    words = [f"corpus.paths=[{shared_data}/leaner/train/wiki*.jsonl]", f"paths.data={tmp_path}/data"]
    words += [f"corpus.dev_paths=[{shared_data}/leaner/validation]", "tokenizer.sample=1M"]
    recipe = read_recipe(ROOT / "recipes" / "leaner_small.yaml", words).recipe
    found = report_tokenizers(recipe, (), (1000, 4000), no_hub)
    small, large = found["tokenizers"]
    corpus = prepare_text(recipe.corpus, recipe.paths.data)
    folder = prepare_tokenizer(corpus, 4000, recipe.tokenizer.sample)
    assert large["sha256"] == tokenizer_sha256(folder)
    texts = [document.text for document in corpus.records("dev") if document.domain == "wiki"]
    num_tokens = sum(map(len, AutoTokenizer.from_pretrained(folder)(texts, add_special_tokens=False).input_ids))
    assert large["domains"]["wiki"]["num_tokens"] == num_tokens
    assert large["domains"]["wiki"]["fertility"] == num_tokens / sum(len(text.split()) for text in texts)
    assert sorted(large["domains"]) == ["book", "conversation", "math", "textbook", "web", "wiki"]
    for domain, figures in large["domains"].items():
        assert figures["num_unknown_tokens"] == figures["num_documents_not_given_back"] == 0
        assert figures["fertility"] < small["domains"][domain]["fertility"]
        assert figures["single_token_words"] > small["domains"][domain]["single_token_words"]
