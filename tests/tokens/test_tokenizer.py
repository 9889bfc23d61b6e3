"""The tokenizer's promises."""

import json
import random
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from launching import environment
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from lmeff.corpora import TextCorpus, prepare_text
from lmeff.errors import InputError
from lmeff.files import sha256_file
from lmeff.recipe.sections.corpus import Corpus
from lmeff.tokens import prepare_tokenizer, prepare_tokens, tokenizer_sha256
from lmeff.tokens.tokenizer.bpe import save_tokenizer, train_tokenizer
from lmeff.tokens.tokenizer.sample import TrainingText

TEXT = ["The cat sat on the mat.", "The dogs that the boy saw ran away from the big house."] * 20


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXT, 300)


def test_has_exactly_the_asked_size_and_every_byte(tokenizer) -> None:
    assert tokenizer.get_vocab_size() == 300
    assert [tokenizer.token_to_id(token) for token in ("<pad>", "<s>", "</s>")] == [0, 1, 2]
    assert tokenizer.decode(tokenizer.encode("日本 🙂 ß").ids) == "日本 🙂 ß"


@pytest.mark.medium
@settings(suppress_health_check=[*settings().suppress_health_check, HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=40))
def test_decoding_an_encoding_gives_the_nfkc_form(tokenizer, text: str) -> None:
    """But for one space at the very start, which is what the first word gets anyway."""
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert tokenizer.decode(ids) == unicodedata.normalize("NFKC", text).removeprefix(" ")


def test_the_first_word_is_tokenised_as_anywhere_else(tokenizer) -> None:
    ids = tokenizer.encode("The cat sat on the mat. The cat").ids
    first = tokenizer.encode("The cat").ids
    assert ids[: len(first)] == first == ids[-len(first) :]
    assert tokenizer.encode(" The cat").ids == first


def test_the_saved_tokenizer_is_the_same_and_adds_nothing(tokenizer, tmp_path: Path) -> None:
    save_tokenizer(tokenizer, tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert '"tokenizer_class": "PreTrainedTokenizerFast"' in (tmp_path / "tokenizer_config.json").read_text()
    assert (loaded.bos_token_id, loaded.eos_token_id, loaded.pad_token_id) == (1, 2, 0)
    assert len(loaded) == 300
    assert loaded("The cat sat.").input_ids == tokenizer.encode("The cat sat.").ids
    assert loaded.decode(loaded("The cat  sat .").input_ids) == "The cat  sat ."


def test_training_is_reproducible(tokenizer) -> None:
    assert train_tokenizer(TEXT, 300).to_str() == tokenizer.to_str()


@pytest.mark.medium
@pytest.mark.parametrize("vocab_size", [259, 8_000, 12_345, 16_000, 32_000, 50_257])
def test_any_vocabulary_from_the_least_on(vocab_size: int) -> None:
    letters = random.Random(0)
    words = ["".join(letters.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(30_000)]
    texts = (" ".join(words[start : start + 100]) for start in range(0, len(words), 100) for _ in range(2))
    assert train_tokenizer(texts, vocab_size).get_vocab_size() == vocab_size


def test_a_vocabulary_larger_than_the_text_allows_is_an_error() -> None:
    with pytest.raises(InputError, match=r"tokenizer\.vocab_size: the training text allows \d+ entries, not 9000"):
        train_tokenizer(TEXT, 9000)


# ---- trained on a corpus


def write_corpus(folder: Path, texts: list[str], dev: str = "Held out, and nowhere else: xylophone.") -> Corpus:
    folder.mkdir(parents=True)
    (folder / "train.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    (folder / "dev.txt").write_text(dev)
    return Corpus(name="mine", paths=[f"{folder}/train.jsonl"], dev_paths=[f"{folder}/dev.txt"])


def real_texts(shared_data: Path) -> list[str]:
    lines = (shared_data / "leaner" / "train" / "wiki.jsonl").read_text(encoding="utf-8").splitlines()
    return list(dict.fromkeys(json.loads(line)["text"] for line in lines))


@pytest.fixture(scope="module")
def wiki(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> TextCorpus:
    folder = tmp_path_factory.mktemp("wiki")
    return prepare_text(write_corpus(folder / "text", real_texts(shared_data)), folder / "data")


def test_a_sample_is_about_as_large_as_it_says(wiki: TextCorpus) -> None:
    train = list(wiki.documents("train"))
    for sample_bytes in (100_000, 500_000):
        text = TrainingText(wiki, sample_bytes)
        taken = list(text)
        assert text.num_bytes == sum(len(piece.encode()) for piece in taken)
        assert text.num_bytes == pytest.approx(sample_bytes, rel=0.2)
        whole = [document for document in train if len(document) <= 16_000]  # longer ones are taken in segments
        assert [piece for piece in taken if piece in set(whole)] == [one for one in whole if one in set(taken)]
        assert len(taken) - 5 <= text.num_documents <= len(taken) < len(train)


def test_a_document_as_long_as_a_book_is_sampled_in_segments(shared_data: Path, tmp_path: Path) -> None:
    book = "\n\n".join(real_texts(shared_data))
    corpus = prepare_text(write_corpus(tmp_path / "text", [book]), tmp_path / "data")
    text = TrainingText(corpus, 300_000)
    pieces = list(text)
    assert text.num_documents == 1
    assert text.num_bytes == pytest.approx(300_000, rel=0.3)
    assert all(piece in book for piece in pieces)


def test_the_sample_does_not_depend_on_the_order_of_the_text(
    wiki: TextCorpus, shared_data: Path, tmp_path: Path
) -> None:
    texts = real_texts(shared_data)
    random.Random(1).shuffle(texts)
    shuffled = prepare_text(write_corpus(tmp_path / "text", texts), tmp_path / "data")
    assert shuffled.folder.name != wiki.folder.name
    assert sorted(TrainingText(shuffled, 200_000)) == sorted(TrainingText(wiki, 200_000))
    folders = [prepare_tokenizer(corpus, 1000, 200_000) for corpus in (wiki, shuffled)]
    assert tokenizer_sha256(folders[0]) == tokenizer_sha256(folders[1])


@pytest.mark.medium
def test_the_sample_has_nothing_to_do_with_what_is_held_out(shared_data: Path, tmp_path: Path) -> None:
    """Taken by the same positions as the held-out share, a sample of a tenth beside 0.3 held out would be empty."""
    written = write_corpus(tmp_path / "text", real_texts(shared_data))
    corpus = prepare_text(written.model_copy(update={"dev_paths": None, "dev_share": 0.3}), tmp_path / "data")
    num_bytes = corpus.manifest["splits"]["train"]["num_bytes"]
    text = TrainingText(corpus, num_bytes // 10)
    taken = set(text)
    assert text.num_bytes == pytest.approx(num_bytes / 10, rel=0.25)
    train, dev = ("\0".join(corpus.documents(side)) for side in ("train", "dev"))
    assert all(piece in train for piece in taken)
    assert not any(piece in dev for piece in taken)


@pytest.mark.medium
def test_held_out_text_changes_nothing(shared_data: Path, tmp_path: Path) -> None:
    texts = real_texts(shared_data)[:200]
    for sample_bytes in (None, 50_000):
        folders = []
        for index, dev in enumerate(("One.", "xylophone xylophone quickstep " * 3000)):
            folder = tmp_path / f"{sample_bytes}-{index}"
            corpus = prepare_text(write_corpus(folder / "text", texts, dev), folder / "data")
            folders.append(prepare_tokenizer(corpus, 800, sample_bytes))
        assert tokenizer_sha256(folders[0]) == tokenizer_sha256(folders[1])
        vocabulary = Tokenizer.from_file(str(folders[1] / "tokenizer.json")).get_vocab()
        assert not [entry for entry in vocabulary if "xyl" in entry]


@pytest.mark.medium
def test_the_folder_and_its_manifest_say_what_it_was_trained_on(wiki: TextCorpus) -> None:
    whole, sampled = prepare_tokenizer(wiki, 1200), prepare_tokenizer(wiki, 1200, 250_000)
    assert (whole.name, sampled.name) == ("bpe-1200.v1", "bpe-1200-sample-250k.v1")
    assert tokenizer_sha256(whole) != tokenizer_sha256(sampled)
    train = wiki.manifest["splits"]["train"]
    manifest = json.loads((whole / "manifest.json").read_text())
    assert (manifest["format"], manifest["vocab_size"], manifest["sample_bytes"]) == (1, 1200, None)
    assert (manifest["num_documents"], manifest["num_bytes"]) == (train["num_documents"], train["num_bytes"])
    manifest = json.loads((sampled / "manifest.json").read_text())
    assert (manifest["vocab_size"], manifest["sample_bytes"]) == (1200, 250_000)
    text = TrainingText(wiki, 250_000)
    assert sum(1 for _ in text) == manifest["num_documents"] == text.num_documents < train["num_documents"]
    assert manifest["num_bytes"] == text.num_bytes
    assert manifest["files"]["tokenizer.json"]["sha256"] == tokenizer_sha256(sampled)
    assert prepare_tokens(wiki, sampled).folder.name.startswith("bpe-1200-sample-250k-")


@pytest.mark.medium
def test_a_sample_that_is_not_smaller_than_the_text_is_all_of_it(wiki: TextCorpus, tmp_path: Path) -> None:
    whole = prepare_tokenizer(wiki, 700)
    other = TextCorpus(tmp_path / "data" / wiki.folder.name, wiki.manifest)
    shutil.copytree(wiki.folder / "text", other.folder / "text")
    for sample_bytes in (wiki.manifest["splits"]["train"]["num_bytes"], 10**12):
        folder = prepare_tokenizer(other, 700, sample_bytes)
        assert folder.name == whole.name
        for name in ("tokenizer.json", "manifest.json"):
            assert (folder / name).read_bytes() == (whole / name).read_bytes()
        shutil.rmtree(folder)


def test_a_folder_of_before_samples_is_taken_as_it_is(wiki: TextCorpus) -> None:
    folder = prepare_tokenizer(wiki, 600)
    manifest = json.loads((folder / "manifest.json").read_text())
    old = json.dumps({"format": 1, "files": manifest["files"]})
    (folder / "manifest.json").write_text(old)
    assert prepare_tokenizer(wiki, 600) == folder
    assert (folder / "manifest.json").read_text() == old


def test_a_sample_too_small_for_the_vocabulary_says_so(wiki: TextCorpus) -> None:
    with pytest.raises(
        InputError, match=r"allows \d+ entries, not 9000.* or a larger tokenizer\.sample; it was [\d,]+ b"
    ):
        prepare_tokenizer(wiki, 9000, 5_000)
    assert not list((wiki.folder / "tokenizers").glob("*sample-5k*"))


TRAIN = """
import sys
from lmeff.corpora import TextCorpus
from lmeff.files import read_json
from lmeff.tokens import prepare_tokenizer
from pathlib import Path
folder = Path(sys.argv[1])
corpus = TextCorpus(folder, read_json(folder / "text" / "manifest.json"))
for words in sys.argv[2:]:
    prepare_tokenizer(corpus, *(None if word == "all" else int(word) for word in words.split(",")))
"""


@pytest.mark.medium
def test_two_processes_train_the_same_bytes(wiki: TextCorpus, tmp_path: Path) -> None:
    """Hash seeds, locale and number of threads change nothing, for the smallest vocabulary, usual ones and odd ones."""
    wanted = ["259,all", "8000,all", "4001,400000"]
    found = []
    for name, variables in (
        ("one", {"PYTHONHASHSEED": "1", "LC_ALL": "C", "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}),
        ("two", {"PYTHONHASHSEED": "77", "LC_ALL": "C.UTF-8", "RAYON_NUM_THREADS": "2"}),
    ):
        folder = tmp_path / name / wiki.folder.name
        shutil.copytree(wiki.folder / "text", folder / "text")
        answer = subprocess.run(
            [sys.executable, "-c", TRAIN, str(folder), *wanted],
            env=environment() | variables,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert answer.returncode == 0, answer.stderr
        found.append({path.parent.name: sha256_file(path) for path in folder.glob("tokenizers/*/tokenizer.json")})
    assert found[0] == found[1]
    assert sorted(found[0]) == ["bpe-259.v1", "bpe-4001-sample-400k.v1", "bpe-8000.v1"]
