"""Text and tokens of a recipe; of a run that has begun, those that it began with."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lmeff.corpora import TextCorpus, prepare_text
from lmeff.corpora.prepare import text_fingerprints
from lmeff.errors import InputError
from lmeff.formats.checkpoint import OWN_STATE, read_own_state
from lmeff.formats.provenance import PROVENANCE, read_provenance
from lmeff.formats.run_folder import RunFolder
from lmeff.recipe.schema import Recipe
from lmeff.tokens.prepare import Tokens, prepare_tokens
from lmeff.tokens.summary import held_out_otherwise
from lmeff.tokens.tokenizer.bpe import prepare_tokenizer


def prepare_run(
    recipe: Recipe,
    folder: Path | None = None,
    accept_other: bool = True,
    say: Callable[[str], None] | None = None,
) -> tuple[TextCorpus, Tokens]:
    """Prepares text, tokenizer and tokens unless they are there.

    Args:
        folder: of a run or a revision. Where an older version prepared its text by its own rule, so is it done again.
        accept_other: whether other tokens will do than those that a run without a checkpoint began with.
        say: is told where not about `corpus.dev_share` of the text is held out, before the folder has any work in it.

    Raises InputError for text that cannot be read, and for other tokens.
    """
    corpus, tokens = _as_begun(recipe, folder, accept_other)
    if say is not None and not (folder and RunFolder(folder).has_work()):
        for line in held_out_otherwise(corpus.manifest):
            say(line)
    return corpus, tokens


def _as_begun(recipe: Recipe, folder: Path | None, accept_other: bool) -> tuple[TextCorpus, Tokens]:
    provenances = list(_provenances(folder)) if folder else []
    at_checkpoints = _at_checkpoints(folder) if folder else set()
    begun = at_checkpoints | {one["tokens"]["fingerprint"] for one in provenances}
    began_by_older_rule = any("held_out" not in one["corpus"]["rules"] for one in provenances)
    corpus, tokens = _prepared(recipe, began_by_older_rule)
    if not begun or tokens.fingerprint in begun:
        return corpus, tokens
    if (
        recipe.corpus.name != "synthetic"
        and (other := _prepared(recipe, not began_by_older_rule))[1].fingerprint in begun
    ):
        return other
    if not accept_other and not at_checkpoints:
        change = f"training tokens were {', '.join(sorted(begun))}, are now {tokens.fingerprint}"
        raise InputError(f"{folder}: {change}; restore the text and tokenizer, or go on with --accept-changes")
    return corpus, tokens


def is_same_text(recipe: Recipe, folder: Path) -> bool | None:
    """Whether a recipe's text is that of the revisions in a run's folder, by the hashes of its files; None where there are no
    revisions. Nothing is prepared. Raises InputError for text that is not there."""
    known = {one["corpus"]["fingerprint"] for one in _provenances(folder)}
    return bool(known & text_fingerprints(recipe.corpus, recipe.paths.data)) if known else None


def _prepared(recipe: Recipe, by_older_rule: bool) -> tuple[TextCorpus, Tokens]:
    corpus = prepare_text(recipe.corpus, recipe.paths.data, by_older_rule)
    tokenizer = prepare_tokenizer(corpus, recipe.tokenizer.vocab_size, recipe.tokenizer.sample)
    return corpus, prepare_tokens(corpus, tokenizer)


def _provenances(folder: Path) -> Iterator[dict[str, Any]]:
    """What revisions say that they were made with."""
    for path in (folder / PROVENANCE, *RunFolder(folder).find_in_revisions(PROVENANCE)):
        if path.is_file():
            yield read_provenance(path.parent)


def _at_checkpoints(folder: Path) -> set[str]:
    """Fingerprints of the tokens that a run's checkpoints were trained on."""
    return {
        read_own_state(path.parent)["tokens_fingerprint"] for path in RunFolder(folder).find_in_checkpoints(OWN_STATE)
    }
