"""Over which held-out text, and in which windows, a run's held-out loss is taken, as far as it says so."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from lmeff.analysis.reading.runs import Anchor, Run
from lmeff.errors import InputError
from lmeff.formats.anchor import HELD_OUT
from lmeff.formats.provenance import PROVENANCE, read_provenance
from lmeff.formats.run_folder import RunFolder
from lmeff.quantities import parse_count
from lmeff.recipe.sections.batch import Batch
from lmeff.recipe.sections.evaluation import Evaluation
from lmeff.recipe.sections.objective import Objective, ObjectiveName

LEFT_OUT = "held-out loss:"
"""What such a line begins with."""
_LOSSES = (*HELD_OUT, "dev_perplexity", "dev_bits_per_byte")


class LossSettings(NamedTuple):
    """What decides how a held-out loss is taken."""

    dev_tokens: int
    """As the anchor says, or else the recipe, which may ask for more than there are."""
    sequence_length: int
    document_mask: bool

    def __str__(self) -> str:
        mask = ", document_mask" if self.document_mask else ""
        return f"dev_tokens {self.dev_tokens:,}, sequence_length {self.sequence_length:,}{mask}"


def held_out_text(run: Run) -> str | None:
    """What tells the held-out text of a run from others: its sha256 or the corpus's fingerprint, as far as these are known."""
    corpus = run.provenance.get("corpus", {})
    return corpus.get("held_out_sha256") or corpus.get("fingerprint")


def loss_settings(run: Run) -> LossSettings:
    """Those of a run's held-out losses, which are all taken alike (`with_one_held_out_text`)."""
    anchor = _last_with_loss(run)
    return loss_settings_at(anchor) if anchor else _settings(run.recipe, None)


def loss_settings_at(anchor: Anchor) -> LossSettings:
    """Those of the loss of one anchor."""
    return _settings(anchor.recipe, anchor.document.dev_tokens)


def predicted(run: Run) -> str:
    """What a run's held-out loss is of: the next token, or what else its objective draws, and how. Losses of other things
    cannot be compared."""
    anchor = _last_with_loss(run)
    return predicted_with(anchor.recipe if anchor else run.recipe, run.loss_kind)


def predicted_with(recipe: Mapping[str, Any], kind: ObjectiveName) -> str:
    """The same of a recipe, as parsed YAML."""
    return predicted_by(kind, _objective(recipe))


def mixture(run: Run) -> dict[str, float | int | bool]:
    """What rows a hybrid's training loss is of. Training losses of other mixtures cannot be compared."""
    changed = _objective(run.recipe).changed("hybrid")
    return {key: value for key, value in changed.items() if key != "z_loss"}  # is in no loss that is logged


def _objective(recipe: Mapping[str, Any]) -> Objective:
    said = recipe.get("objective")
    own = {key: value for key, value in (said if isinstance(said, dict) else {}).items() if key in Objective.own_keys}
    return Objective.model_validate(own)


def predicted_by(kind: ObjectiveName, objective: Objective) -> str:
    """The same of an objective, which is of that kind."""
    if kind not in ("masked", "permutation"):  # a hybrid model is a causal one, and held-out text is read as such
        return "next tokens"
    changed = objective.changed(kind)
    # Held-out text is masked at the rate that the run ends with.
    words = ", ".join(f"{key} {changed[key]}" for key in sorted(changed.keys() - {"mask_rate"}))
    return {"masked": "masked tokens", "permutation": "tokens in drawn orders"}[kind] + (f" ({words})" if words else "")


def same_kind(one: Run, other: Run) -> bool:
    """Whether both losses are of the same: those of masked tokens are no losses of next tokens."""
    return predicted(one) == predicted(other)


def same_tokenizer(one: Run, other: Run) -> bool:
    """Whether a token is the same for both: by the tokenizer's sha256, or where one does not tell, by the recipes."""
    hashes = [run.provenance.get("tokens", {}).get("tokenizer_sha256") for run in (one, other)]
    if all(hashes):
        return hashes[0] == hashes[1]
    return sections(one, "corpus", "tokenizer") == sections(other, "corpus", "tokenizer")


def same_source(one: Run, other: Run) -> bool:
    """Whether one text was held out for both: by its sha256, by the corpus's fingerprint, or else by the recipes."""
    is_same = same_source_by(one.provenance, other.provenance)
    return sections(one, "corpus") == sections(other, "corpus") if is_same is None else is_same


def same_source_by(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool | None:
    """The same by what two `provenance.json` say; None where they do not."""
    for key in ("held_out_sha256", "fingerprint"):
        hashes = [provenance.get("corpus", {}).get(key) for provenance in (one, other)]
        if all(hashes):
            return bool(hashes[0] == hashes[1])
    return None


def same_settings(one: Run, other: Run) -> bool:
    """Whether as much of the text is taken, in windows alike: more than there is, is all of it."""
    ours, theirs = loss_settings(one), loss_settings(other)
    is_as_much = ours.dev_tokens == theirs.dev_tokens or (_takes_all(one) and _takes_all(other))
    return is_as_much and ours[1:] == theirs[1:]


def same_held_out_text(one: Run, other: Run) -> bool:
    """Whether both take their losses over one text, in windows alike. A sample is a number of tokens: with another
    tokenizer it is other documents."""
    is_one_sample = same_tokenizer(one, other) or (_takes_all(one) and _takes_all(other))
    return same_source(one, other) and same_settings(one, other) and is_one_sample


def same_loss(one: Run, other: Run) -> bool:
    """Whether losses per token can be compared."""
    return same_kind(one, other) and same_tokenizer(one, other) and same_held_out_text(one, other)


def sections(run: Run, *names: str) -> str:
    """Sections of a recipe, for comparing."""
    return json.dumps([run.recipe.get(name) for name in names], sort_keys=True, default=str)


def num_held_out_tokens(provenance: Mapping[str, Any]) -> int | None:
    """How much held-out text there was, as far as `provenance.json` says it."""
    splits = provenance.get("tokens", {}).get("splits") or {}
    num_tokens: int | None = (splits.get("dev") or {}).get("num_tokens")
    return num_tokens


def _takes_all(run: Run) -> bool:
    """Whether all held-out text is taken; not where nothing says how much there is."""
    num_tokens = num_held_out_tokens(run.provenance)
    return num_tokens is not None and num_tokens <= loss_settings(run).dev_tokens


def _last_with_loss(run: Run) -> Anchor | None:
    return next((anchor for anchor in reversed(run.anchors) if anchor.document.held_out is not None), None)


def _settings(recipe: Mapping[str, Any], dev_tokens: int | None) -> LossSettings:
    """`dev_tokens`: as the anchor says, which says it better than the recipe."""
    batch, evaluation = (recipe.get(name) for name in ("batch", "evaluation"))
    batch, evaluation = (section if isinstance(section, dict) else {} for section in (batch, evaluation))
    return LossSettings(
        dev_tokens or _count(evaluation.get("dev_tokens"), Evaluation.model_fields["dev_tokens"].default),
        _count(batch.get("sequence_length"), Batch.model_fields["sequence_length"].default),
        bool(batch.get("document_mask")),
    )


def _count(value: object, default: int) -> int:
    try:
        return default if value is None else parse_count(value)
    except ValueError:
        return default


# ---- runs that went on with another recipe


class _Taken(NamedTuple):
    """How a held-out loss was taken."""

    settings: LossSettings
    recipe: Mapping[str, Any]
    run: Run
    provenance: Mapping[str, Any]

    def is_like(self, other: "_Taken") -> bool:
        """As far as both tell: within a run, what nobody says is the same."""
        is_same_text = same_source_by(self.provenance, other.provenance) is not False
        return is_same_text and self.settings == other.settings and self._predicts_as(other)

    def _predicts_as(self, other: "_Taken") -> bool:
        return self.recipe is other.recipe or self._predicted == other._predicted

    @property
    def _predicted(self) -> str:
        return predicted_with(self.recipe, self.run.loss_kind)

    def words(self, last: "_Taken") -> str:
        """How it differs from the last one."""
        if same_source_by(self.provenance, last.provenance) is False:
            return "taken over another text than the last one"
        if self.settings != last.settings:
            return f"taken over {self.settings}, the last one over {last.settings}"
        return f"of {self._predicted}, the last one of {last._predicted}"


def with_one_held_out_text(run: Run) -> Run:
    """The run without the held-out losses that cannot be compared with its last one; `left_out` says which."""
    taken = _taken(run)
    if not taken:
        return run
    *_, last = taken.values()
    others = {name: one for name, one in taken.items() if not one.is_like(last)}
    if not others:
        return run
    named: dict[str, list[str]] = {}
    anchors = []
    for anchor in run.anchors:
        if anchor.revision in others:
            named.setdefault(others[anchor.revision].words(last), []).append(anchor.tokens_name)
            nothing = dict.fromkeys(_LOSSES)
            anchor = replace(anchor, document=anchor.document.model_copy(update=nothing))
        anchors.append(anchor)
    notes = (_note(names, words) for words, names in named.items())
    return replace(run, anchors=tuple(anchors), left_out=(*run.left_out, *notes))


def _note(names: Sequence[str], words: str) -> str:
    *most, last = names
    which = f"anchors {', '.join(most)} and {last} are" if most else f"anchor {last} is"
    return f"{LEFT_OUT} {which} left out, {words}"


def _taken(run: Run) -> dict[str, _Taken]:
    """By revision, of the anchors with a loss."""
    anchors = [anchor for anchor in run.anchors if anchor.document.held_out is not None]
    if len(anchors) < 2:
        return {}
    known: dict[bytes, Mapping[str, Any]] = {}  # most anchors of a run have the same file
    provenances = [_provenance(run, anchor, known) for anchor in anchors]
    sizes = [num_held_out_tokens(provenance) for provenance in provenances]
    usual = next(filter(None, reversed(sizes)), None)
    taken = {}
    for anchor, provenance, size in zip(anchors, provenances, sizes, strict=True):
        settings, most = loss_settings_at(anchor), size or usual
        if most:  # older anchors say what was asked for, which may be more than there is
            settings = settings._replace(dev_tokens=min(settings.dev_tokens, most))
        taken[anchor.revision] = _Taken(settings, anchor.recipe, run, provenance)
    return taken


def _provenance(run: Run, anchor: Anchor, known: dict[bytes, Mapping[str, Any]]) -> Mapping[str, Any]:
    """Empty where there is none, or one that is not readable: whoever needs it says so."""
    folder = RunFolder(run.folder).revision(anchor.revision)
    try:
        content = (folder / PROVENANCE).read_bytes()
        if content not in known:
            known[content] = read_provenance(folder)
    except (InputError, OSError):
        return {}
    return known[content]
