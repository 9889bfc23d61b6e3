"""What files of a run say of its kind of loss, and which are compared."""

import json
from pathlib import Path

from lmeff.analysis.reading.held_out import same_loss
from lmeff.analysis.reading.results import Results
from lmeff.analysis.reading.runs import Anchor, Run
from lmeff.formats.anchor import AnchorDocument
from lmeff.formats.run_log import LogRecord, read_log


def anchor(**said) -> AnchorDocument:
    counts = {
        "nominal_tokens": 5,
        "exact_tokens": 8,
        "step": 1,
        "epoch": 0.1,
        "seed": 0,
        "mode": "snapshot",
        "part": None,
    }
    counts |= {"num_skipped_steps": 0, "train_seconds": 1.0, "flops": 1.0, "world_size": 1, "device": "cpu"}
    losses = {"loss": 3.0, "dev_loss": None, "dev_perplexity": None, "dev_bits_per_byte": None}
    return AnchorDocument(**counts | losses | said, weights_sha256="0" * 64, same_as=None)


CAUSAL = anchor(dev_loss=2.0, dev_perplexity=7.4, dev_bits_per_byte=1.5)
HYBRID = anchor(dev_loss=2.0, dev_perplexity=7.4, dev_bits_per_byte=1.5, loss_kind="hybrid")
MASKED = anchor(dev_masked_loss=2.5, loss_kind="masked")
PERMUTED = anchor(dev_permutation_loss=2.7, loss_kind="permutation")


def run_of(document: AnchorDocument) -> Run:
    one = Anchor("seed-0", document, Results({}, {}, {}))
    return Run(Path("run"), "run", 0, {}, "", None, None, (one,))


def test_held_out_losses_of_one_kind_alone_are_compared() -> None:
    causal, hybrid, masked, permuted = map(run_of, (CAUSAL, HYBRID, MASKED, PERMUTED))
    assert same_loss(causal, hybrid), "a hybrid's is the causal one"
    assert same_loss(masked, run_of(MASKED))
    assert not same_loss(causal, masked)
    assert not same_loss(masked, permuted)


def test_files_name_the_kind_only_where_it_is_not_causal(tmp_path: Path) -> None:
    causal, masked = tmp_path / "causal", tmp_path / "masked"
    for folder, document in ((causal, CAUSAL), (masked, MASKED)):
        folder.mkdir()
        document.write(folder)
        assert AnchorDocument.read(folder) == document
    plain, other = (json.loads((folder / "anchor.json").read_text()) for folder in (causal, masked))
    assert other.keys() - plain.keys() == {"loss_kind", "dev_masked_loss"}
    assert (CAUSAL.held_out, MASKED.held_out) == (("dev_loss", 2.0), ("dev_masked_loss", 2.5))
    facts = {
        "tokens": 8,
        "epoch": 0.1,
        "loss": 3.0,
        "grad_norm": None,
        "learning_rate": 1e-5,
        "tokens_per_second": None,
    }
    facts |= {"num_loss_tokens": 7, "num_skipped_steps": 0, "time": "now"}
    records = [LogRecord(step=1, **facts), LogRecord(step=2, **facts, loss_kind="masked")]
    for record in records:
        record.append(tmp_path / "log")
    assert read_log(tmp_path / "log") == tuple(records)
    lines = (tmp_path / "log").read_text().splitlines()
    assert ["loss_kind" in line for line in lines] == [False, True]
