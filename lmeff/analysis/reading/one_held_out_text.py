"""Held-out losses that a run took over other text than its last one, since it went on with another recipe, are not shown."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from lmeff.analysis.reading.held_out import (
    LossSettings,
    loss_settings_at,
    num_held_out_tokens,
    predicted_with,
    same_source_by,
)
from lmeff.analysis.reading.runs import Anchor, Run
from lmeff.errors import InputError
from lmeff.formats.anchor import HELD_OUT
from lmeff.formats.provenance import PROVENANCE, read_provenance
from lmeff.formats.run_folder import RunFolder

LEFT_OUT = "held-out loss:"
"""What such a line begins with."""
_LOSSES = (*HELD_OUT, "dev_perplexity", "dev_bits_per_byte")


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
            return "taken over another text than the others"
        if self.settings != last.settings:
            return f"taken over {self.settings}, the others over {last.settings}"
        return f"of {self._predicted}, the others of {last._predicted}"


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
