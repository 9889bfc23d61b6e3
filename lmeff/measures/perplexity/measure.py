"""`lmeff perplexity`: which text, which windows, one model after another, and the results they leave."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from lmeff.errors import InputError
from lmeff.evaluation.bos_warning import warn_of_bos
from lmeff.evaluation.results import tokenizer_files_sha256, weights_sha256
from lmeff.files import sha256_file
from lmeff.formats.result import Kind
from lmeff.formats.run_folder import RECIPE, RunFolder
from lmeff.measures.measure import Measure, Say
from lmeff.measures.perplexity.options import PerplexityOptions
from lmeff.measures.perplexity.text import HeldText, check_files, corpus_fingerprint, file_text, split_text
from lmeff.measures.perplexity.windows import packed_windows, strided_windows
from lmeff.measures.result_keys import write_measurement
from lmeff.measures.reuse import refuse_other_data, reuse_equal
from lmeff.measures.selection import SelectedModel, where_results_are
from lmeff.recipe import read_recipe
from lmeff.recipe.schema import Recipe
from lmeff.recipe.sections.evaluation import Evaluation
from lmeff.text_tables import table_line
from lmeff.tokens.tokenizer.published import prepared_sha256

METRICS = {"loss": ".4f", "perplexity": ".4g", "bits_per_byte": ".4f", "word_perplexity": ".4g"}
"""What is measured, all of it better when lower, and how it is printed."""
_VERSION = 1
"""Raised whenever the same text and settings would give other numbers."""


class _Texts:
    """The text for each model: of a run's corpus one for all its revisions, also when the run went on with another one."""

    def __init__(self, options: PerplexityOptions, models: Sequence[SelectedModel]) -> None:
        self._options = options
        self._known: dict[str, HeldText] = {}
        self._split = None
        if options.paths:
            check_files(options.paths)
        else:
            folder = models[-1].model_folder
            assert folder is not None, "a split is of a run here, not of a model of the Hub"
            self._split = split_text(folder, options.split or "dev", options.limit)
            self._corpus = corpus_fingerprint(folder)

    @property
    def note(self) -> str | None:
        """What to say of the text before any number of it."""
        if self._split is None or not self._split.is_by_older_rule:
            return None
        return (
            "this text was prepared by an older version, which cut documents above 16,000 characters: their pieces count as"
            " documents, and standard errors as if they were independent"
        )

    def is_of_other_corpus(self, model_folder: Path) -> bool:
        """Whether the model was trained on another corpus than the split is of, and so perhaps on what it holds out."""
        return self._split is not None and corpus_fingerprint(model_folder) != self._corpus

    def of(self, model_folder: Path) -> HeldText:
        if self._split is not None:
            if prepared_sha256(model_folder) != self._split.tokenizer_sha256:
                raise InputError("its tokenizer is not the one that the run's tokens were made with; use --text PATH")
            return self._split
        key = tokenizer_files_sha256(model_folder)
        if key not in self._known:
            from transformers import AutoTokenizer

            tokenizer = AutoTokenizer.from_pretrained(model_folder, trust_remote_code=False, local_files_only=True)
            self._known[key] = file_text(self._options.paths, tokenizer, self._options.limit)
        return self._known[key]


class Perplexity(Measure):
    """Loss, perplexity and bits per byte of text, by domain and over all."""

    kind: ClassVar[Kind] = "perplexity"
    not_measured = "its perplexity was not measured"

    def __init__(self, options: PerplexityOptions, before_batch: Callable[[], None] | None = None) -> None:
        """`before_batch` is called before every forward pass; what it raises ends the measuring."""
        self._options, self._before_batch = options, before_batch
        self._texts: _Texts
        """Set by `prepare`."""
        self._width = 0

    @classmethod
    def of_run(cls, section: Evaluation, run: RunFolder, check: Callable[[], None]) -> "Perplexity":
        return cls(PerplexityOptions(), check)

    def prepare(self, models: Sequence[SelectedModel], say: Say) -> None:
        if models[0].model_folder is not None:
            _check_windows(models[0].model_folder, self._options)
        self._texts = _Texts(self._options, models)
        if self._texts.note:
            say(self._texts.note)

    def check_replaced(self, model: SelectedModel, folder: Path) -> None:
        """All of a run's own text may replace any of it."""
        options = self._options
        if options.paths or options.is_part:
            named = "name this one with --name NAME, or " if options.paths else ""
            refuse_other_data(
                model.output / f"{options.task}.json",
                folder,
                lambda: self._texts.of(folder).sha256,
                "text, or of another part of it",
                f"{named}give it a folder with --output DIR",
            )

    def heading(self, models: Sequence[SelectedModel]) -> list[str]:
        self._width = max(len(model.name) for model in models)
        return [self._row("revision", "text", "tokens", "loss", "perplexity", "bits/byte", "per word")]

    def measure(self, model: SelectedModel, folder: Path, say: Say) -> dict:
        warn_of_bos(model.name, folder)
        if self._texts.is_of_other_corpus(folder):
            say(f"{model.name}: was trained on another corpus and may have seen this text")
        path, text = model.output / f"{self._options.task}.json", self._texts.of(folder)
        settings = _settings(folder, self._options)
        settings["eos_is_scored"] = text.has_end and self._options.score_end
        decided_by: dict[str, Any] = {
            "weights_sha256": weights_sha256(folder),
            "data_sha256": text.sha256,
            "settings": settings,
        }
        decided_by["text_sha256"] = text.text_sha256
        if (known := reuse_equal(path, decided_by)) is not None:
            return known
        values, device = _summaries(folder, text, settings, self._options, self._before_batch)
        total = self._options.task
        by_task = {total if name is None else f"{total}_{name}": one for name, one in values.items()}
        domains = [task for task in by_task if task != total]
        return write_measurement(
            path,
            self.kind,
            {task: one["metrics"] for task, one in by_task.items()},
            {task: one["counts"]["num_documents"] for task, one in by_task.items()},
            dict.fromkeys(METRICS, False),
            decided_by,
            device,
            counts={task: one["counts"] for task, one in by_task.items()},
            group_subtasks={total: domains} if domains else {},
        )

    def lines(self, model: SelectedModel, result: dict) -> Iterator[str]:
        total = self._options.task
        for task, counts in result["counts"].items():
            values = {name.partition(",")[0]: value for name, value in result["results"][task].items()}
            numbers = [f"{values[metric]:{form}}" for metric, form in METRICS.items()]
            name = "all" if task == total else task.removeprefix(f"{total}_")
            yield self._row(model.name, name, f"{counts['num_tokens']:,}", *numbers)

    def closing_lines(self, models: Sequence[SelectedModel]) -> list[str]:
        return [where_results_are([model.output for model in models])]

    def _row(self, *cells: str) -> str:
        return table_line(cells, (self._width, 20, *(10,) * (len(cells) - 2)), "<<>")


def _summaries(
    model_folder: Path,
    text: HeldText,
    settings: dict[str, Any],
    options: PerplexityOptions,
    before_batch: Callable[[], None] | None,
) -> tuple[dict[str | None, dict[str, dict[str, float]]], str]:
    """Metrics and counts by domain, over all text under None, which is all there is of a single domain; and the device."""
    from lmeff.evaluation.process_state import isolate_scoring
    from lmeff.evaluation.scorer.load import load_model
    from lmeff.measures.perplexity.losses import summarize, token_losses
    from lmeff.models.device import device_name

    if options.way == "strided":
        windows = strided_windows(text, settings["length"], settings["stride"], options.score_end)
    else:
        windows = packed_windows(text, settings["length"], settings["document_mask"], options.score_end)
    with isolate_scoring():
        model = load_model(model_folder, None, batch_size=1, progress=False, scoring="causal").model
        if before_batch is not None:
            model.base_model.register_forward_pre_hook(lambda *_: before_batch())
        losses = token_losses(model, windows, options.batch_size)
    values = summarize(losses, windows, text)
    return values if len(values) > 2 else {None: values[None]}, device_name(model.device)


class _Unsuitable(InputError):
    """The command line asks for what the model cannot take."""


def _check_windows(model_folder: Path, options: PerplexityOptions) -> None:
    """Raises InputError for windows that the model cannot take; what is wrong with its files is told when its turn comes."""
    if not (options.length or options.stride):
        return
    try:
        _settings(model_folder, options)
    except _Unsuitable:
        raise
    except Exception:
        return


def _settings(model_folder: Path, options: PerplexityOptions) -> dict[str, Any]:
    """What besides weights and text decides the numbers, and what part of the text it is. Raises InputError."""
    length = _length(model_folder, options)
    settings: dict[str, Any] = {"version": _VERSION, "dtype": "float32", "way": options.way, "length": length}
    settings["context_start"] = "bos"  # a document begins with one, whatever the tokenizer adds
    if options.way == "strided":
        settings["stride"] = options.stride or max(1, settings["length"] // 2)
        try:
            options.check_stride(settings["stride"], settings["length"])
        except InputError as error:
            raise _Unsuitable(*error.mistakes) from None
    else:
        recipe = _recipe(model_folder)
        settings["document_mask"] = recipe is not None and recipe.batch.document_mask
    if options.limit is not None:
        settings["limit_tokens"] = options.limit
    return settings | {"config_sha256": sha256_file(model_folder / "config.json")}


def _length(model_folder: Path, options: PerplexityOptions) -> int:
    """Tokens of a window. Raises InputError, `_Unsuitable` when the model cannot take so many."""
    from lmeff.models.context_length import DEFAULT_WINDOW_LENGTH, context_length
    from lmeff.models.loading import load_config

    most = context_length(load_config(model_folder))
    if options.length:
        if options.length < 2 or (most and options.length > most):
            raise _Unsuitable(
                f"--length: {options.length} tokens; {model_folder.name} takes 2 to {most or 'any number'}"
            )
        return options.length
    if (recipe := _recipe(model_folder)) is not None:
        return recipe.batch.sequence_length
    return min(most or DEFAULT_WINDOW_LENGTH, DEFAULT_WINDOW_LENGTH)  # no recipe says it


def _recipe(model_folder: Path) -> Recipe | None:
    path = model_folder / RECIPE
    return read_recipe(path).recipe if path.is_file() else None
