"""What `lmeff prepare` says of a corpus: how much there is of it, and what became of the rest."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lmeff.corpora import TextCorpus
from lmeff.tokens.packing import Packing
from lmeff.tokens.prepare import Tokens

OLDER_RULE = (
    "text of an older version: documents above 16,000 characters are cut, each piece held out or trained on by itself"
)
_EXAMPLES, _SHOWN_CHARACTERS = 3, 100


def describe_prepared(corpus: TextCorpus, tokens: Tokens, packing: Packing | None) -> Iterator[str]:
    """Lines to print."""
    yield str(tokens.folder)
    for side, split in tokens.manifest["splits"].items():
        num_documents, num_tokens, num_bytes = (split[f"num_{unit}"] for unit in ("documents", "tokens", "bytes"))
        rate = num_bytes / num_tokens
        yield f"  {side}: {num_documents:,} documents, {num_bytes:,} bytes, {num_tokens:,} tokens ({rate:.2f} bytes each)"
    domains = _trained_bytes(corpus, tokens)
    if len(domains) > 1:
        total = sum(domains.values())
        yield "  of train: " + ", ".join(f"{domain} {size / total:.1%}" for domain, size in domains.items())
    for source, (num_whole, num_more) in tokens.manifest.get("passes", {}).items():
        yield f"  {source or 'text'} is read {num_whole} times whole and {num_more:,} documents more"
    yield from _held_out(corpus.manifest)
    yield from _left_out(corpus.manifest)
    if packing is not None:
        packed = packing.manifest
        num_sequences, length = packed["num_sequences"], packed["sequence_length"]
        padding = packed["num_padding_tokens"] / (num_sequences * length)
        yield f"  {packed['num_pieces']:,} pieces in {num_sequences:,} sequences of {length}, {padding:.2%} of it padding"


def _trained_bytes(corpus: TextCorpus, tokens: Tokens) -> dict[str, int]:
    """By domain; of a mixture by source, as training reads them: what is read three times counts three times, and what a
    mixture leaves out does not count."""
    source_of = {Path(shard.name).stem: shard.source for shard in corpus.shards("train")}
    if "passes" not in tokens.manifest or len(set(source_of.values())) < 2:
        domains: dict[str, int] = corpus.manifest["splits"]["train"]["domains"]
        return domains
    found = Counter[str]()
    for name, first, last in tokens.train_readings:
        found[source_of[Path(name).stem]] += int(tokens.train_documents[first:last, 1].sum())
    return found


def _held_out(manifest: dict[str, Any]) -> Iterator[str]:
    if "held_out" not in manifest["rules"] and "synthetic" not in manifest["rules"]:
        yield f"  {OLDER_RULE}"
    yield from (f"  {line}" for line in held_out_otherwise(manifest))


def held_out_otherwise(manifest: dict[str, Any]) -> Iterator[str]:
    """Which documents are not on one side as a whole, and how much is held out where that is not what was wanted."""
    cut = manifest.get("cut") or {}
    if "held_out" in manifest["rules"] and cut.get("num_documents"):
        yield (
            f"cut, since each is too much of the text to be held out whole: documents {cut['num_documents']:,}, of which"
            f" {cut['num_held_out_pieces']:,} pieces are held out and the rest is trained on; corpus.separator says where"
            " documents of a file end, corpus.dev_paths names text to hold out"
        )
    sizes = {side: split["num_bytes"] for side, split in manifest["splits"].items()}
    wanted, found = manifest["rules"].get("dev_share"), sizes["dev"] / sum(sizes.values())
    if wanted and not wanted / 2 <= found <= 2 * wanted:
        yield f"held out: {found:.1%} of the text, where corpus.dev_share is {wanted:.1%}, since documents stay whole"


def _left_out(manifest: dict[str, Any]) -> Iterator[str]:
    for side, domains in manifest["left_out"].items():
        for domain, reasons in domains.items():
            said = ", ".join(f"{reason} {count:,}" for reason, count in reasons.items())
            yield f"  left out of {side}, {domain}: {said}"
    for domain, rules in manifest["cleaning"].items():
        said = ", ".join(f"{rule} {count['documents']:,}" for rule, count in rules.items())
        yield f"  documents changed by cleaning, {domain}: {said}"
    taken = manifest["decontaminated"]
    if taken["num_sentences"]:
        yield f"  sentences of evaluation data taken out: {taken['num_sentences']:,}, such as"
        for sentence in taken["examples"][:_EXAMPLES]:
            yield f"    {' '.join(sentence.split())[:_SHOWN_CHARACTERS]}"
