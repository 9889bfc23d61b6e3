"""Zero-shot SmallBench: SST-2, RTE, BoolQ and MRPC as prompts whose completions are compared.

The prompts, answers and numbers of examples are those of the parameter-allocation experiments this continues. The score of an
answer is the MEAN log-probability of its tokens, as published; lm-eval's own `acc_norm` divides by characters instead. Which
tokens an answer has is the tokenizer's affair, so the tokenizer of the model is read to count them: lm-eval hands a task the
arguments of the model (`pretrained`, `tokenizer`, `revision`) for such needs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lmeff.corpora.characters import check_characters
from lmeff.errors import InputError
from lmeff.evaluation.scorer.answer_tokens import split_tokens
from lmeff.evaluation.tasks.records import TaskDocument

SEED = 42
"""Of the shuffle before the first examples are taken, as `datasets.Dataset.shuffle` does it."""


@dataclass(frozen=True)
class Prompt:
    fields: dict[str, str]
    """What a line of the prompt is called, and the key it shows."""
    question: str
    answers: dict[str, tuple[str, ...]]
    """The answers in the order of the labels 0 and 1, with other names that a file may give to the label."""
    num_examples: int
    hub: tuple[str, str | None]
    label: tuple[str, ...] = ("label",)


_NO_YES = {"no": ("false", "not_equivalent", "not equivalent"), "yes": ("true", "equivalent")}
PROMPTS: dict[str, Prompt] = {
    "sst2": Prompt(
        {"Sentence": "sentence"}, "Sentiment", {"negative": (), "positive": ()}, 500, ("nyu-mll/glue", "sst2")
    ),
    "rte": Prompt(
        {"Premise": "sentence1", "Hypothesis": "sentence2"},
        "Relation",
        {"entailment": (), "not entailment": ("not_entailment",)},
        277,
        ("nyu-mll/glue", "rte"),
    ),
    "boolq": Prompt(
        {"Passage": "passage", "Question": "question"},
        "Answer",
        _NO_YES,
        500,
        ("google/boolq", None),
        ("answer", "label"),
    ),
    "mrpc": Prompt(
        {"Sentence 1": "sentence1", "Sentence 2": "sentence2"}, "Paraphrase", _NO_YES, 408, ("nyu-mll/glue", "mrpc")
    ),
}


def question(name: str, record: dict, where: str) -> TaskDocument:
    """The document of an example with GLUE's own keys; its label may be an int, a bool or a text. Raises InputError."""
    prompt = PROMPTS[name]
    lines = [f"{title}: {_shown(record, field, where)}" for title, field in prompt.fields.items()]
    key = next((key for key in prompt.label if key in record), prompt.label[0])
    return {
        "context": "\n".join([*lines, f"{prompt.question}:"]),
        "choices": [f" {answer}" for answer in prompt.answers],
        "gold": _gold(record.get(key), prompt.answers, f"{where}: {key}"),
    }


def _shown(record: dict, field: str, where: str) -> str:
    """The text of a field, which may be empty: in simplified GLUE a sentence may have been simplified away."""
    if not isinstance(record.get(field), str):
        raise InputError(f"{where}: {field} is missing or no text")
    check_characters(record[field], f"{where}: {field}")
    return record[field]


def _gold(label: object, answers: Mapping[str, Sequence[str]], where: str) -> int:
    meant = {str(index): index for index in range(len(answers))}
    for index, (answer, others) in enumerate(answers.items()):
        meant |= dict.fromkeys((answer, *others), index)
    written = str(int(label)) if isinstance(label, bool) else str(label).strip().lower()
    if written not in meant:
        raise InputError(f"{where} is {label!r}; it must be one of {', '.join(meant)}")
    return meant[written]


def chosen(documents: Sequence[TaskDocument], name: str) -> tuple[TaskDocument, ...]:
    """The examples that are scored: all where there are no more than published, else the first after a shuffle with seed 42."""
    import numpy

    if len(documents) <= PROMPTS[name].num_examples:
        return tuple(documents)
    order = numpy.random.default_rng(SEED).permutation(len(documents))
    return tuple(documents[index] for index in order[: PROMPTS[name].num_examples])


def with_token_counts(documents: Sequence[TaskDocument], model: Mapping[str, object]) -> list[TaskDocument]:
    """The documents with `num_tokens`, how many tokens of each choice are scored after the context.

    Args:
        model: lm-eval's model arguments: `tokenizer`, or else `pretrained` with `revision`.

    Raises InputError when they name no tokenizer.
    """
    from transformers import AutoTokenizer

    source = next((one for key in ("tokenizer", "pretrained") if isinstance(one := model.get(key), str) and one), None)
    if source is None:
        raise InputError(
            "SmallBench divides by the tokens of an answer, so it must know the tokenizer: give lm-eval "
            '--model_args pretrained=... or --metadata \'{"tokenizer": "FOLDER"}\''
        )
    tokenizer = AutoTokenizer.from_pretrained(source, revision=model.get("revision") or "main", trust_remote_code=False)
    texts = [(document["context"], choice) for document in documents for choice in document["choices"]]
    counts = iter([len(answer) for _, answer in split_tokens(tokenizer, texts)])
    return [{**document, "num_tokens": [next(counts) for _ in document["choices"]]} for document in documents]
