"""The texts of one model after all prompts, and what can be measured on them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from lmeff.evaluation.process_state import isolate_scoring
from lmeff.evaluation.scorer.load import load_model
from lmeff.measures.generation.generate import Generated, Sampling, TextRequest, generate
from lmeff.measures.generation.options import GenerationOptions
from lmeff.measures.generation.prompts import Prompt
from lmeff.measures.generation.statistics import accuracy, consistency, distinct, is_expected, repetition, self_bleu
from lmeff.models.device import device_name


@dataclass(frozen=True)
class PromptedText:
    """A text and the prompt that it was written after."""

    prompt: Prompt
    sample: int | None
    """None: the most probable token each time."""
    seed: int
    written: Generated

    @property
    def is_greedy(self) -> bool:
        return self.sample is None

    @property
    def is_expected(self) -> bool | None:
        """Whether a greedy text begins with one of the prompt's answers; None where there is nothing to be right or wrong."""
        if not (self.is_greedy and self.prompt.expected):
            return None
        return is_expected(self.prompt.text, self.written.text, self.prompt.expected)

    def record(self) -> dict[str, Any]:
        """Its line in `generations.jsonl`."""
        record: dict[str, Any] = {"prompt": self.prompt.text, "sample": self.sample, "greedy": self.is_greedy}
        record |= {"seed": None if self.is_greedy else self.seed}
        record |= {"text": self.written.text, "num_tokens": self.written.num_tokens, "finished": self.written.finished}
        record |= {} if self.prompt.group is None else {"group": self.prompt.group}
        if self.is_expected is not None:
            record |= {"expected": list(self.prompt.expected), "is_expected": self.is_expected}
        return record


def write_texts(
    model_folder: Path,
    prompts: Sequence[Prompt],
    options: GenerationOptions,
    before_batch: Callable[[], None] | None = None,
) -> tuple[list[PromptedText], str]:
    """A text for each prompt and sample, in the order of the prompts, the greedy one after the samples; and the
    device's name."""
    asked: list[tuple[Prompt, TextRequest]] = []
    for prompt in prompts:
        asked += [(prompt, TextRequest(prompt.text, sample)) for sample in range(options.samples)]
        if not options.samples or prompt.expected or prompt.group is not None:
            asked.append((prompt, TextRequest(prompt.text, None)))
    sampling = Sampling(options.max_new_tokens, options.temperature, options.top_p, options.seed)
    requests = [request for _, request in asked]
    with isolate_scoring():
        loaded = load_model(model_folder, None, batch_size=1, progress=False, scoring="causal")
        if before_batch is not None:
            loaded.model.base_model.register_forward_pre_hook(lambda *_: before_batch())
        texts = generate(loaded.model, loaded.tokenizer, requests, sampling, options.batch_size)
    together = zip(asked, texts, strict=True)
    written = [PromptedText(prompt, request.sample, options.seed, text) for (prompt, request), text in together]
    return written, device_name(loaded.device)


Metrics = dict[str, float]


def summarize_texts(texts: Sequence[PromptedText], task: str) -> tuple[dict[str, Metrics], dict[str, int]]:
    """(`{task: {metric: value}}`, examples by task): what texts are like, and as tasks of their own how right completions are
    and how alike those of prompts that mean the same. Texts are measured as they were sampled, or greedy where none was."""
    measured = [text for text in texts if not text.is_greedy] or texts
    metrics, counts = {task: _diversity(measured)}, {task: len(measured)}
    if right := [text.is_expected for text in texts if text.is_expected is not None]:
        share, stderr = accuracy(right)
        with_stderr = {} if stderr is None else {"completion_accuracy_stderr": stderr}
        metrics[f"{task}_completion"] = {"completion_accuracy": share, **with_stderr}
        counts[f"{task}_completion"] = len(right)
    groups: dict[str, list[str]] = {}
    for text in texts:
        if text.is_greedy and text.prompt.group is not None:
            groups.setdefault(text.prompt.group, []).append(text.written.text)
    if groups:
        within, across = consistency(groups)
        with_across = {} if across is None else {"consistency_across": across}
        metrics[f"{task}_consistency"] = {"consistency": within, **with_across}
        counts[f"{task}_consistency"] = len(groups)
    return metrics, counts


def _diversity(texts: Sequence[PromptedText]) -> Metrics:
    """How diverse, repetitive and long the texts are, and how sure the model was of their tokens."""
    written = [text.written for text in texts]
    words = [one.text for one in written]
    metrics = {
        **{f"distinct_{n}": distinct(words, n) for n in (1, 2, 3)},
        **{f"rep_{n}": repetition(words, n) for n in (3, 4)},
        "self_bleu": self_bleu(words),
        "num_tokens": mean(one.num_tokens for one in written),
        "num_words": mean(len(text.split()) for text in words),
        "eos_share": mean(float(one.finished == "eos") for one in written),
        "top_probability": mean(value for one in written for value in one.top_probabilities),
        "entropy": mean(value for one in written for value in one.entropies),
    }
    return {name: value for name, value in metrics.items() if value is not None}
