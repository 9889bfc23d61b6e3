"""Where teachers are, what they are, and whether they fit a student. Needs torch only for those that were made elsewhere."""

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lmeff.errors import InputError, RunFailed
from lmeff.files import read_json, sha256_file
from lmeff.formats.run_folder import RECIPE, RunFolder
from lmeff.hub.remote import RemoteModel, download, holds_weights, is_remote
from lmeff.models.config_file import complete_config
from lmeff.models.families import Family, family_of, family_of_config
from lmeff.recipe import read_recipe
from lmeff.recipe.input_paths import where_looked
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.model.section import FAMILIES as SECTIONS

_KEY = "distillation.teachers"
_SAYS_NOTHING = ("transformers_version", "_name_or_path", "dtype", "torch_dtype", "architectures")
"""Keys of a configuration that do not change what a model computes."""


@dataclass(frozen=True)
class TeacherSource:
    """A teacher, or another model that is asked about the text, as the recipe names it."""

    name: str
    key: str = _KEY
    """The key that names it."""

    @property
    def is_on_hub(self) -> bool:
        """Only by its commit: whatever else looks like a name of the Hub is a folder that is still to come."""
        return "@" in self.name and is_remote(self.name)

    @property
    def as_commit(self) -> str:
        """How to name it if the Hub was meant, in brackets; empty where that cannot be."""
        is_short = "@" not in self.name and is_remote(self.name)
        return f" (a model of the Hub is named with its commit: {self.name}@COMMIT)" if is_short else ""

    @property
    def is_missing(self) -> bool:
        """Whether there is nothing of that name yet; of the Hub nobody knows."""
        return not self.is_on_hub and not Path(self.name).exists()

    @cached_property
    def folder(self) -> Path:
        """The model's folder; of the Hub, the commit's in the cache of Hugging Face. Raises InputError for what is not there,
        and RunFailed where the Hub cannot be asked."""
        if self.is_on_hub:
            return self._fetched()
        folder, what = Path(self.name), self.key.rpartition(".")[2].removesuffix("s")
        if not folder.is_dir():
            raise self.wrong(
                f"no such folder{where_looked(self.name)}; the {what} has to be trained first{self.as_commit}"
            )
        if not (folder / "config.json").is_file() or not holds_weights(folder.iterdir()):
            finals = sorted(path.parent.name for path in RunFolder(folder).find_in_revisions("config.json"))
            a_run = f"; it is a run, whose models are in {RunFolder(folder).revisions}" if finals else ""
            raise self.wrong(f"no model folder with a config.json and weights{a_run}")
        return folder

    def _fetched(self) -> Path:
        from lmeff.hub.client import NotDelivered, Unavailable

        repository, _, commit = self.name.partition("@")
        try:
            return download(RemoteModel(repository, commit, commit))
        except (Unavailable, NotDelivered) as error:
            raise RunFailed(f"{self.key}: {self.name}: {error}") from None

    def wrong(self, text: str) -> InputError:
        return InputError(f"{self.key}: {self.name}: {text}")

    @cached_property
    def sha256(self) -> str:
        """Of its weights and of what its configuration says of them."""
        digest = hashlib.sha256()
        for path in sorted(self.folder.glob("*.safetensors")):
            if path.name != "optimizer.safetensors":
                digest.update(f"{path.name} {sha256_file(path)}\n".encode())
        config = complete_config(read_json(self.folder / "config.json"))
        says = {key: value for key, value in config.items() if key not in _SAYS_NOTHING}
        digest.update(json.dumps(says, sort_keys=True).encode())
        return digest.hexdigest()

    @cached_property
    def family(self) -> Family:
        """Its shape, of our own models by their recipe. Raises InputError for what is no language model of one stack."""
        recipe = self.folder / RECIPE
        if recipe.is_file():
            with suppress(InputError):  # such as that of another version
                return family_of(read_recipe(recipe).recipe)
        from lmeff.models.loading import check_one_stack, load_config

        config = load_config(self.folder)
        check_one_stack(f"{self.key}: {self.name}", config)
        if (kind := family_of_config(config)) is None:
            raise self.wrong(f"lmeff knows no language models of the kind {config.model_type}")
        return kind.of_config(config)

    def check_fits(self, recipe: Recipe) -> None:
        """Raises InputError for a model that cannot read what the student does, or says nothing of the same tokens."""
        family, objective, section = self.family, recipe.objective_name, SECTIONS[self.family.name]
        if objective not in section.objectives:
            raise self.wrong(f"a {family.name} cannot teach the objective '{objective}'")
        if recipe.batch.document_mask and (
            section.document_mask != recipe.model.document_mask
            or (section.document_mask == "attention_mask" and family.name != recipe.model.family)
        ):
            raise self.wrong(
                f"a {family.name} does not keep documents apart as a {recipe.model.family} does (batch.document_mask)"
            )
        window, own_window = family.attention_window, recipe.model.attention_window
        if recipe.batch.document_mask and window not in (None, own_window):
            # They are given masks that the student's window is a part of.
            raise self.wrong(
                f"its local layers see {window} tokens on each side, and the student's {own_window}; with"
                " batch.document_mask that has to be the same (model.local_attention)"
            )
        longest, length = family.max_position_embeddings, recipe.batch.sequence_length
        if 0 < longest < length:
            raise self.wrong(f"it takes {longest} tokens, and batch.sequence_length is {length}")
        entries, ours = family.vocab_size, recipe.model_vocab_size
        if entries == recipe.tokenizer.vocab_size < ours:
            raise self.wrong(
                f"it has {entries:,} entries, and the student {ours:,}, with `<mask>`: a teacher of the objective '{objective}'"
                " was trained with an objective that hides tokens behind it"
            )
        if entries not in (ours, recipe.tokenizer.vocab_size + 1):
            raise self.wrong(f"it has {entries:,} entries, and the student {ours:,}: it has another tokenizer")

    def check_tokenizer(self, tokenizer_folder: Path) -> None:
        """Raises InputError for a teacher whose tokens are others than those of the run's tokenizer, whatever its files look
        like. `<mask>` is no difference."""
        if not (self.folder / "tokenizer.json").is_file():
            raise self.wrong("has no tokenizer.json, so nobody can tell whether its tokens are those of this run")
        theirs, ours = _what_decides_ids(self.folder), _what_decides_ids(tokenizer_folder)
        if theirs == ours:
            return
        difference = _first_difference(theirs, ours) if theirs else "its vocabulary is no table of tokens and entries"
        raise self.wrong(f"it has another tokenizer: {difference}; a teacher needs the run's own")


def sources_of(recipe: Recipe) -> list[TeacherSource]:
    """The teachers that are asked."""
    return [TeacherSource(name) for name in recipe.distillation.teachers] if recipe.distillation.is_used else []


def _what_decides_ids(folder: Path) -> dict[str, Any]:
    """Empty for a tokenizer of another kind than ours, such as Unigram, whose vocabulary is a list of weighted tokens."""
    from lmeff.tokens.tokenizer.published import MASK_TOKEN  # brings numpy, which a plan does not need

    tokenizer = read_json(folder / "tokenizer.json")
    model = tokenizer.get("model") or {}
    if not isinstance(model.get("vocab"), dict):
        return {}
    merges = [merge.split(" ") if isinstance(merge, str) else list(merge) for merge in model.get("merges") or ()]
    added = {entry["content"]: entry["id"] for entry in tokenizer.get("added_tokens") or ()}
    added.pop(MASK_TOKEN, None)
    return {
        "vocabulary": {token: entry for token, entry in model["vocab"].items() if token != MASK_TOKEN},
        "merges": merges,
        "special tokens": added,
        "normalizer": tokenizer.get("normalizer"),
        "pre_tokenizer": tokenizer.get("pre_tokenizer"),
    }


def _first_difference(theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    vocabulary, own = theirs["vocabulary"], ours["vocabulary"]
    if len(vocabulary) != len(own):
        return f"{len(vocabulary):,} entries instead of {len(own):,}"
    if moved := [token for token in own if vocabulary.get(token) != own[token]]:
        token = min(moved, key=own.__getitem__)
        found = f"is {vocabulary[token]} there" if token in vocabulary else "is not in it"
        return f"{token!r}, entry {own[token]} of this run, {found} ({len(moved):,} differ)"
    return f"other {next(name for name in ours if theirs[name] != ours[name])}"
