"""The curriculum of a recipe as a learning method: it wraps the order, and its callback decides the stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from transformers import Trainer

from lmeff.formats.run_folder import RunFolder
from lmeff.library_internals import models_loaded_whole
from lmeff.logs import note
from lmeff.methods.curriculum.costs import KnownText, curriculum_costs, may_begin_with_the_end, warning_of
from lmeff.methods.curriculum.order import DecidedStages, ShuffledDocuments, Stage
from lmeff.methods.curriculum.pacing import PacingCallback
from lmeff.methods.curriculum.reference import reference_of
from lmeff.methods.curriculum.scoring import Windows, score_windows
from lmeff.methods.curriculum.seen import DocumentsSeen
from lmeff.methods.curriculum.selection import extended, first_documents, ranked
from lmeff.methods.curriculum.text_scores import scores_path, text_scores
from lmeff.models.families import family_of
from lmeff.models.loading import load_causal_model
from lmeff.objectives import objective_of
from lmeff.plan.beside import MethodCosts
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.curriculum import Curriculum as Section
from lmeff.runs.process import launched_rank
from lmeff.stateless import stateless_seed
from lmeff.tokens import DataOrder, Tokens
from lmeff.tokens.permutations import permutation
from lmeff.training.callbacks.callback import RunCallback
from lmeff.training.method import Method
from lmeff.training.trainer import LmeffTrainer


class Curriculum(Method):
    def __init__(self, recipe: Recipe, tokens: Tokens) -> None:
        """Raises InputError for a reference with another tokenizer."""
        self._recipe, self._tokens = recipe, tokens
        self._section: Section = recipe.curriculum
        self._lengths = np.asarray(tokens.train_documents[:, 0])
        self._reference, self._reference_flops = reference_of(recipe), 0.0
        if self._reference:
            self._reference.check_tokenizer(tokens.tokenizer_folder)
        if (warning := warning_of(recipe)) and launched_rank() == 0:
            note(f"curriculum: {warning}")
        self._order: DataOrder | None = None
        self._first_order = self._order_before_training() if self._section.is_iterative else None

    def _order_before_training(self) -> np.ndarray | None:
        """Documents as they come; None where another model has to be asked first."""
        name, section = self._section.order_name, self._section
        if name in ("sentence_length", "word_rarity"):
            return ranked(text_scores(name, self._tokens), bool(section.hardest_first))
        if name == "reference_loss":
            return None
        return permutation(len(self._lengths), stateless_seed(self._recipe.seed, "curriculum documents"), 0)

    def wrap_order(self, inner: DataOrder) -> DataOrder:
        """Raises InputError for a text that the first stage cannot be made of."""
        recipe, section = self._recipe, self._section
        self._order = inner
        if section.protocol == "full_random":
            num_plain = 2 if "second_epoch_unshuffled" in section.faults else 1
            self._order = ShuffledDocuments(inner, self._tokens, recipe.batch, recipe.seed, num_plain)
        elif section.is_iterative:
            # Another reference would choose other documents, wherever it is.
            facts = section.model_dump_json(exclude={"reference"})
            facts += self._reference.sha256 if self._reference else ""
            self._order = DecidedStages(inner, self._tokens, recipe.batch, recipe.seed, facts)
            if self._first_order is not None:
                self._begin(self._order, self._first_order, 0, 0)
        self._seen = DocumentsSeen(self._order, self._tokens, recipe.batch)
        return self._order

    def _begin(self, order: DecidedStages, documents: np.ndarray, number: int, step: int) -> None:
        """Begins a stage with the first of `documents`."""
        section, share = self._section, self._section.share_of(number)
        chosen = first_documents(documents, self._lengths, share, "share_of_documents" in section.faults)
        if "text_by_rank" not in section.faults:
            chosen = np.sort(chosen)
        is_whole = len(chosen) == len(self._lengths) and bool((chosen == np.arange(len(chosen))).all())
        order.begin(Stage(number, step, share, None if is_whole else chosen))

    def callbacks(self, trainer: Trainer) -> Sequence[RunCallback]:
        assert isinstance(trainer, LmeffTrainer)
        if not isinstance(self._order, DecidedStages):
            return ()
        order, run = self._order, RunFolder(Path(trainer.args.output_dir or "."))
        begin = partial(self._next_stage, trainer, order, run.curriculum_scores)
        part = None if self._recipe.anchors.mode == "snapshot" else run.path.name
        at_end = may_begin_with_the_end(self._recipe, part)
        return [PacingCallback(trainer, order, self._seen, begin, run.curriculum_jsonl, begins_with_the_end=at_end)]

    def _next_stage(self, trainer: LmeffTrainer, order: DecidedStages, kept: Path, number: int, step: int) -> None:
        documents = self._first_order
        if self._section.order_name == "own_loss":
            documents = ranked(self._own_losses(trainer, order, kept), bool(self._section.hardest_first))
            if self._section.selection == "extended":
                before = order.stages[-1].documents
                documents = documents if before is None else extended(before, documents)
        assert documents is not None
        self._begin(order, documents, number, step)

    def before_training(self, trainer: Trainer, check_stop: Callable[[], None]) -> None:
        """The reference is asked once for all runs on the text. What it has said is kept beside the tokens."""
        if self._reference is None:
            return
        windows, device = self._windows(), trainer.args.device
        if self._first_order is None:
            key = self._key(self._reference.sha256, windows)
            kept = scores_path(self._tokens, f"reference_loss-{key[:16]}.npz")
            with models_loaded_whole():
                model = load_causal_model(self._reference.folder)
            model.to(device).eval()  # type: ignore[arg-type]
            nats = score_windows(model, self._tokens.train, windows, device, kept, key, check_stop)
            self._first_order = ranked(windows.scores(nats), bool(self._section.hardest_first))
        self._reference_flops = windows.flops(self._reference.family.forward_flops_per_token)
        if isinstance(self._order, DecidedStages) and not self._order.stages:
            self._begin(self._order, self._first_order, 0, 0)

    def _windows(self) -> Windows:
        apart = "loss_over_all_tokens" in self._section.faults
        return Windows.of(self._lengths, self._recipe.batch.sequence_length, apart)

    def _key(self, weights: str, windows: Windows) -> str:
        """Names the scores of a model on this text."""
        facts = [weights, self._tokens.fingerprint, windows.length, windows.are_apart]
        return str(xxhash.xxh3_128_hexdigest(" ".join(map(str, facts)).encode()))

    def _own_losses(self, trainer: LmeffTrainer, order: DecidedStages, kept: Path) -> np.ndarray:
        """Of the model as it is now. Collective."""
        windows, model = self._windows(), trainer.model_wrapped
        with trainer.timer_stopped(), trainer.weights_to_keep():
            key = self._key(trainer.weights_digest(), windows)
            model.eval()
            nats = score_windows(model, self._tokens.train, windows, trainer.args.device, kept, key)
            model.train()
        order.flops += windows.flops(family_of(self._recipe).forward_flops_per_token)
        return windows.scores(nats)

    def costs(self) -> MethodCosts:
        return curriculum_costs(self._recipe, KnownText(self._windows().flops, self._held_out_positions))

    def _held_out_positions(self) -> int:
        objective, dev_tokens = objective_of(self._recipe, self._tokens), self._recipe.evaluation.dev_tokens
        return objective.held_out_text(self._tokens, dev_tokens, self._recipe.batch).windows.size

    def flops(self, step: int) -> Mapping[str, float]:
        if not isinstance(self._order, DecidedStages):
            return {}
        total = self._order.flops + self._reference_flops
        return {"flops_scoring": total} if self._section.scores_with_model or self._section.looks else {}

    def facts(self, step: int) -> Mapping[str, Any]:
        return {"num_documents_seen": self._seen.after(step)}
