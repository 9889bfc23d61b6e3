"""Named corpora, mixtures and data sets of the Hub, laid out as they are published, fetched over HTTP."""

import gzip
import hashlib
import io
import json
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow
import pytest
from hub_server import HubServer
from pyarrow import parquet

pytestmark = pytest.mark.medium

PROJECT = Path(__file__).resolve().parents[2]


def table(**columns: list[str]) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), buffer, row_group_size=100)
    return buffer.getvalue()


def article(source: str, number: int, words: int = 40) -> str:
    return f"The {source} article {number} says " + " ".join(f"{source}{number}word{i}" for i in range(words)) + "."


HYBRID = {
    "wikimedia/wikipedia": {
        "20231101.en/train-00000-of-00041.parquet": table(
            id=[str(i) for i in range(300)], text=[f"== T{i} ==\n{article('wiki', i)}" for i in range(300)]
        ),
        "20231101.de/train-00000-of-00020.parquet": table(text=["Nicht auf Englisch."]),
    },
    "bookcorpus/bookcorpus": {
        f"plain_text/train/000{part}.parquet": table(
            text=[f"sentence {part} {i} was of a book ." for i in range(3_200)]
        )
        for part in range(2)
    },
    "Skylion007/openwebtext": {
        "plain_text/train-00000-of-00080.parquet": table(text=[article("web", i) for i in range(500)])
    },
    "allenai/c4": {
        "en/c4-train.00000-of-01024.json.gz": gzip.compress(
            "".join(json.dumps({"text": article("c", i), "url": "u"}) + "\n" for i in range(250)).encode()
        ),
        "en/c4-train.00001-of-01024.json.gz": gzip.compress(
            # The first is an article of openwebtext.
            "".join(
                json.dumps({"text": article(*at), "url": "u"}) + "\n"
                for at in [("web", 3), *(("c", i) for i in range(250, 400))]
            ).encode()
        ),
        "en/c4-validation.00000-of-00008.json.gz": gzip.compress(b'{"text": "not to be read"}\n'),
    },
    "vblagoje/cc_news": {
        "plain_text/train-00000-of-00005.parquet": table(
            title=["t"] * 200, text=[article("news", i) for i in range(200)], domain=["d"] * 200
        )
    },
}

PREPARE = """
import sys, json
from lmeff.corpora import prepare_text
from lmeff.recipe.sections.corpus import Corpus
from lmeff.errors import InputError, RunFailed
try:
    corpus = prepare_text(Corpus.model_validate_json(sys.argv[1]), "data")
except (InputError, RunFailed) as error:
    sys.exit(f"{type(error).__name__}: {error}")
words = {}
for shard in [*corpus.shards("train"), *corpus.shards("dev")]:
    words[shard.source] = words.get(shard.source, 0) + shard.num_words
train, dev = ([[d.domain, d.text] for d in corpus.records(side)] for side in ("train", "dev"))
print(json.dumps({"words": words, "train": train, "dev": dev, "folder": str(corpus.folder)}))
"""


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        for name, files in HYBRID.items():
            server.add_dataset(name, files, "refs/convert/parquet" if name == "bookcorpus/bookcorpus" else "main")
        yield server


@pytest.fixture
def prepare(tmp_path: Path) -> Callable[..., dict | str]:
    """Prepares a corpus in a process of its own; what it says, or its error."""

    def run(endpoint: str, **settings: object) -> dict | str:
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "PYTHONPATH": str(PROJECT),
            "HF_HOME": str(tmp_path / "hf"),
            "HF_ENDPOINT": endpoint,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DOWNLOAD_TIMEOUT": "5",
            "LMEFF_OSF_ENDPOINT": endpoint,
        }
        answer = subprocess.run(
            [sys.executable, "-c", PREPARE, json.dumps(settings)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return json.loads(answer.stdout) if answer.returncode == 0 else answer.stderr.splitlines()[-1]

    return run


def test_the_hybrid_corpus_as_it_is_published(hub: HubServer, prepare: Callable, tmp_path: Path) -> None:
    found = prepare(hub.url, name="hybrid_3.7B", budget="20k words")
    for source, share in {"wikipedia": 0.15, "bookcorpus": 0.2, "openwebtext": 0.3, "c4": 0.25, "cc_news": 0.1}.items():
        longest = 32 * 8 if source == "bookcorpus" else 50
        assert share * 20_000 - longest < found["words"][source] <= share * 20_000, source
    train, dev = found["train"], found["dev"]
    assert {domain for domain, _ in train} == set(found["words"])
    books = [text for domain, text in train if domain == "bookcorpus"]
    assert books[0].startswith("sentence 0 0 was of a book. sentence 0 1 was")
    assert max(text.count("sentence") for text in books) == 32
    assert not [text for domain, text in train if domain == "wikipedia" and text.startswith("=")]
    assert 0.02 < len(dev) / (len(train) + len(dev)) < 0.09
    texts = [text for _, text in train + dev]
    assert len(set(texts)) == len(texts)
    # What was prepared needs the Hub no more, and neither does asking for it again.
    hub.stop()
    assert prepare(hub.url, name="hybrid_3.7B", budget="20k words")["folder"] == found["folder"]
    hub.start()


def test_a_source_may_be_text_of_ones_own_or_another_data_set(
    hub: HubServer, prepare: Callable, tmp_path: Path
) -> None:
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "b.jsonl").write_text(
        "".join(json.dumps({"text": article("book", i)}) + "\n" for i in range(150))
    )
    hub.add_dataset(
        "me/news", {"all.jsonl": b"".join(b'{"text": "%s"}\n' % article("own", i).encode() for i in range(60))}
    )
    sources = {"bookcorpus": {"paths": ["books"]}, "cc_news": {"hub": "me/news", "files": ["*.jsonl"]}}
    found = prepare(hub.url, name="hybrid_3.7B", budget="20k words", sources=sources)
    texts = dict(found["train"])
    assert texts["bookcorpus"].startswith("The book article")
    assert texts["cc_news"].startswith("The own article")


def test_a_source_that_fails_or_is_too_small_is_an_error(hub: HubServer, prepare: Callable, tmp_path: Path) -> None:
    said = prepare(hub.url, name="hybrid_3.7B", budget="100k words")
    assert "TooLittleText: corpus.sources.wikipedia: has " in said
    assert "words of the 15,000 that corpus.budget wants of it" in said
    with hub.fault(r"GET /datasets/allenai/c4/resolve", "status", status=404):
        said = prepare(hub.url, name="hybrid_3.7B", budget="20k words")
    assert "RunFailed: hub://allenai/c4@" in said
    assert "give its text as paths instead" in said
    # What was downloaded and prepared before is kept, and gone on with.
    unfinished = list((tmp_path / "data").glob("hybrid_3.7B-*/.text.unfinished/journal.json"))
    assert len(unfinished) == 1
    assert json.loads(unfinished[0].read_text())["place"][0] == 3
    hub.requests.clear()
    again = prepare(hub.url, name="hybrid_3.7B", budget="20k words")
    assert not [what for _, what, _ in hub.requests if "wikipedia/resolve" in what]
    assert len(again["words"]) == 5


def test_no_network_is_said_in_one_line(prepare: Callable) -> None:
    said = prepare("http://127.0.0.1:9", name="hybrid_3.7B")
    assert said.startswith("RunFailed: wikimedia/wikipedia@main: cannot be had from the Hub (")
    said = prepare("http://127.0.0.1:9", name="babylm3", track="10M")
    assert said.startswith("RunFailed: http://127.0.0.1:9/v2/nodes/ryjfm/files/osfstorage/: cannot be downloaded")


def test_what_does_not_match_its_hash_is_refused(hub: HubServer, prepare: Callable, tmp_path: Path) -> None:
    hub.add_dataset("me/words", {"all.jsonl": b'{"text": "one two three"}\n' * 5})
    file = hub.repositories["datasets/me/words"].find("main").files["all.jsonl"]
    corpus = {"name": "mine", "hub": "me/words", "files": ["*.jsonl"], "dev_share": 0.4}
    listed = file.entry
    object.__setattr__(file, "content", file.content.replace(b"three", b"THREE"))
    object.__setattr__(
        file,
        "entry",
        lambda path: listed(path) | {"lfs": {"oid": "0" * 64, "size": len(file.content), "pointerSize": 1}},
    )
    assert "what came is not what the Hub promised" in prepare(hub.url, **corpus)


@pytest.mark.parametrize(
    ("name", "files", "wanted"),
    [
        (
            "tinystories",
            {
                "TinyStoriesV2-GPT4-train.txt": b"One day .\n<|endoftext|>\nTwo\n\nparts.<|endoftext|>",
                "TinyStoriesV2-GPT4-valid.txt": b"Held out.",
                "TinyStories-train.txt": b"The first version.",
            },
            [["TinyStoriesV2-GPT4-train", "One day."], ["TinyStoriesV2-GPT4-train", "Two\n\nparts."]],
        ),
        (
            "wikitext-2",
            {
                "wikitext-2-raw-v1/train-00000-of-00001.parquet": table(
                    text=["", " = A = \n", "", " First @-@ line . \n", " = = B = = \n", "", " = C = \n", " Last . \n"]
                ),
                "wikitext-2-raw-v1/validation-00000-of-00001.parquet": table(text=["", " = Held = \n", " out . \n"]),
                "wikitext-2-v1/train-00000-of-00001.parquet": table(text=["no"]),
            },
            [["train", "A\n\nFirst-line.\nB"], ["train", "C\nLast."]],
        ),
    ],
)
def test_corpora_of_the_hub(
    hub: HubServer, prepare: Callable, name: str, files: dict[str, bytes], wanted: list
) -> None:
    hub.add_dataset({"tinystories": "roneneldan/TinyStories"}.get(name, "Salesforce/wikitext"), files)
    found = prepare(hub.url, name=name)
    assert found["train"] == wanted
    assert len(found["dev"]) == 1


def test_leaner_and_its_originals(hub: HubServer, prepare: Callable) -> None:
    """Laid out as TinyHelen's repository is: text, code, mathematics, and lists of conversations."""
    import zstandard

    def lines(*records: object) -> bytes:
        return "".join(json.dumps(record) + "\n" for record in records).encode()

    squeeze = zstandard.compress
    files = {
        "data/leaner/10M/train/code0000.jsonl": lines({"prompt": "Add.", "response": "a + b"}),
        "data/leaner/10M/train/math0000.jsonl": lines({"problem": "1 + 1", "hints": ["It is", "2"]}),
        "data/leaner/10M/train/wiki0000.jsonl": lines({"text": "A cat.", "hash": "x"}),
        "data/leaner/10M/validation/wiki0000.jsonl": lines({"text": "A dog."}),
        "data/leaner/100M/train/wiki0001.jsonl": lines({"text": "A cow."}),
        "data/leaner/100M/validation/wiki0001.jsonl": lines({"text": "A hen."}),
        "data/ori/10M/train/code0000.jsonl.zst": squeeze(lines({"prompt": "Add.", "response": "a + b"})),
        "data/ori/10M/train/conversation0000.json.zst": squeeze(json.dumps(["Hello.", "Good day."]).encode()),
        "data/ori/10M/train/math0000.jsonl": lines({"problem": "1 + 1", "hints": ["It is", "2"]}),
        "data/ori/10M/train/textbook0000.jsonl.zst": squeeze(lines({"text": "outline", "textbook": "Chapter."})),
        "data/ori/10M/train/wiki0000.jsonl.zst": squeeze(lines({"12": "An article."})),
        "data/ori/10M/validation/wiki0000.jsonl.zst": squeeze(lines({"13": "Held out."})),
    }
    hub.add_dataset("EmpathYang/TinyHelen", files)
    code = "### CODING INPUT:\nAdd.\n\n### RESPONSE:\na + b"
    leaner = prepare(hub.url, name="leaner", track="10M")
    assert leaner["train"] == [["code0000", code], ["math0000", "1 + 1\nIt is\n2"], ["wiki0000", "A cat."]]
    assert len(prepare(hub.url, name="leaner", track="100M")["train"]) == 4
    natural = prepare(hub.url, name="leaner", track="100M", domains=["wiki*"])
    assert sorted(natural["train"]) == [["wiki0000", "A cat."], ["wiki0001", "A cow."]]
    original = dict(prepare(hub.url, name="leaner_original", track="10M")["train"])
    assert original["code0000"] == code
    assert original["math0000"] == "### MATH INPUT:\n1 + 1\n\n### RESPONSE:\nIt is\n2"
    assert original["textbook0000"] == "Chapter."
    assert original["wiki0000"] == "An article."
    assert original["conversation0000"] == "Good day."


def test_any_data_set_of_the_hub_by_its_splits(hub: HubServer, prepare: Callable) -> None:
    """Without `files`, the splits are found as `datasets` finds them."""
    hub.add_dataset(
        "me/split",
        {
            "data/train-00000-of-00001.parquet": table(text=["To train on."]),
            "data/validation-00000-of-00001.parquet": table(text=["To hold out."]),
            "data/test-00000-of-00001.parquet": table(text=["Not read."]),
        },
    )
    found = prepare(hub.url, name="hub", hub="me/split")
    assert isinstance(found, dict), found
    assert [text for _, text in found["train"]] == ["To train on."]
    assert [text for _, text in found["dev"]] == ["To hold out."]
    hub.stop()
    assert prepare(hub.url, name="hub", hub="me/split") == found, "no network is needed a second time"
    hub.start()


# ---------------------------------------------------------------------- OSF


def zipped(**members: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return buffer.getvalue()


ARCHIVES = {
    "train_10M.zip": zipped(
        **{
            "train_10M/childes.train": "*MOT:\thello there .",
            "train_10M/gutenberg.train": "A book.",
            "__MACOSX/._x": "?",
        }
    ),
    "dev.zip": zipped(**{"dev/childes.dev": "*CHI:\tbye .", "dev/gutenberg.dev": "Held out."}),
}


@pytest.fixture
def osf() -> Iterator[str]:
    """A server with OSF's listing: two pages, the second with a folder."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            base = f"http://127.0.0.1:{self.server.server_port}"
            listing = f"{base}/v2/nodes/ryjfm/files/osfstorage/"
            file = {name: _entry(name, f"{base}/download/{name}") for name in ARCHIVES}
            folder = {
                "attributes": {"name": "more", "kind": "folder", "size": None},
                "relationships": {"files": {"links": {"related": {"href": f"{listing}more/"}}}},
            }
            pages = {
                "/v2/nodes/ryjfm/files/osfstorage/": ([file["dev.zip"]], f"{listing}?page=2"),
                "/v2/nodes/ryjfm/files/osfstorage/?page=2": ([folder], None),
                "/v2/nodes/ryjfm/files/osfstorage/more/": ([file["train_10M.zip"]], None),
            }
            if self.path in pages:
                entries, following = pages[self.path]
                body = json.dumps({"data": entries, "links": {"next": following}}).encode()
            else:
                body = ARCHIVES[self.path.rpartition("/")[2]]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def _entry(name: str, url: str) -> dict:
        hashes = {"sha256": hashlib.sha256(ARCHIVES[name]).hexdigest()}
        about = {"name": name, "kind": "file", "size": len(ARCHIVES[name]), "extra": {"hashes": hashes}}
        return {"attributes": about, "links": {"download": url}}

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_babylm_from_osf(osf: str, prepare: Callable, tmp_path: Path) -> None:
    said = prepare(osf, name="babylm3", track="100M")
    assert said.startswith("RunFailed: train_100M.zip: OSF node ryjfm has no such file any more")
    # The published file has a hash that this small one cannot have.
    said = prepare(osf, name="babylm3", track="10M")
    assert "not b5af75aeb1ee5a36f65ee98f316fdae73b16a0ba3767cca3f3dfa5eaac2dc621; the file has changed" in said
    (tmp_path / "mine.yaml").write_text(
        (PROJECT / "lmeff/corpora/named/babylm3.yaml").read_text().partition("  sha256:")[0]
        + "clean: {childes: childes}\n"
    )
    found = prepare(osf, name="babylm3", file="mine.yaml", track="10M")
    assert found["train"] == [["childes", "hello there."], ["gutenberg", "A book."]]
    assert found["dev"] == [["childes", "bye."], ["gutenberg", "Held out."]]
    one = prepare(osf, name="babylm3", file="mine.yaml", track="10M", domains=["gutenberg"])
    assert one["train"] == [["gutenberg", "A book."]]
    assert not list((tmp_path / "data").rglob("*.tmp"))
