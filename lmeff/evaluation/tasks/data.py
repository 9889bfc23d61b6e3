"""Reading what tasks ask about: local files in their published layouts, the Hub, and pairs of `lmeff.corpora.synthetic`."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from lmeff.errors import InputError
from lmeff.evaluation.tasks.records import LAYOUTS, TaskDocument, asked
from lmeff.evaluation.tasks.smallbench import PROMPTS, chosen, question, with_token_counts
from lmeff.evaluation.tasks.sources import DATA_VARIABLE, SOURCES, data_file, data_folder
from lmeff.files import parse_json, text_lines
from lmeff.hub.availability import asked_once, first_line, known_away


def data_name(source: str) -> str | None:
    """The key of `SOURCES` that a task's `source` reads, None for generated pairs: EWoK is scored in two ways."""
    return {"synthetic": None, "ewok_context": "ewok"}.get(source, source)


def task_name(source: str, uid: str) -> str:
    """The lm-eval task of a part of a source, or the group of a phenomenon, in lower case: `lmeff_blimp_principle_a_case_1`.

    A file of the user's own pairs keeps its name: `lmeff_pairs::My-File`, as lm-eval calls a task made on the spot.
    """
    if source == "pairs":
        return f"lmeff_pairs::{uid}"
    if source.startswith("wug"):
        return f"lmeff_{source}"
    return f"lmeff_{source}_{uid.lower().replace('-', '_')}"


def pair_files(paths: Mapping[str, str]) -> list[str]:
    """Names without `.jsonl` of the user's own files of minimal pairs, each a paradigm. Raises InputError."""
    folder = data_folder("pairs", paths)
    names = sorted(path.stem for path in folder.glob("*.jsonl") if not path.name.startswith("."))
    if not names:
        raise InputError(f"{folder}: holds no *.jsonl with {SOURCES['pairs'].keys}")
    return names


def documents(source: str, uid: str, paths: Mapping[str, str]) -> Sequence[TaskDocument]:
    """What a task asks about. Raises InputError for data that is missing or damaged, naming file and line.

    Args:
        source: `synthetic`, a key of `SOURCES`, or `ewok_context`.
        uid: the part as published, such as the paradigm `principle_A_c_command`.
        paths: folders by name (`evaluation.paths`); they win over the environment variable LMEFF_EVAL_DATA.
    """
    if source == "synthetic":
        from lmeff.corpora.synthetic import minimal_pairs

        return tuple({key: pair[key] for key in ("sentence_good", "sentence_bad")} for pair in minimal_pairs(uid))
    name = data_name(source)
    folder = data_folder(name, paths)
    if folder is None:
        read = _from_hub(source, uid)
    else:
        path = data_file(name, uid, folder)
        if path is None:
            raise InputError(f"{folder}: lacks the file of {uid} of {SOURCES[name].title}")
        read = read_documents(path, uid if source == "smallbench" else source)
    if source == "entity_tracking":
        read = _operations(read, uid, folder)
    return chosen(read, uid) if source == "smallbench" else read


def read_documents(path: Path, layout: str) -> tuple[TaskDocument, ...]:
    """The documents of a JSON lines file; `layout` is a key of `LAYOUTS` or a task of SmallBench. Raises InputError."""
    try:
        stat = path.stat()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    return _read(path, layout, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=512)  # a file is read again and again, for every checkpoint of a run
def _read(path: Path, layout: str, _mtime_ns: int, _size: int) -> tuple[TaskDocument, ...]:
    documents_of_file = tuple(_line(line, layout, f"{path}, line {number}") for number, line in text_lines(path))
    if not documents_of_file:
        raise InputError(f"{path}: holds no {'pairs' if 'blimp' in layout or layout == 'pairs' else 'examples'}")
    return documents_of_file


def _line(line: str, layout: str, where: str) -> TaskDocument:
    record = parse_json(line, where)
    if not isinstance(record, dict):
        keys = SOURCES["smallbench" if layout in PROMPTS else data_name(layout)].keys
        raise InputError(f"{where}: must be an object with {keys}")
    return _document(record, layout, where)


def _document(record: dict, layout: str, where: str) -> TaskDocument:
    return question(layout, record, where) if layout in PROMPTS else LAYOUTS[layout](record, where)


def _operations(read: Sequence[TaskDocument], uid: str, folder: Path) -> tuple[TaskDocument, ...]:
    split, num = uid.removesuffix("_ops").rsplit("_", 1)
    some = tuple(document for document in read if document["numops"] == int(num))
    if not some:
        raise InputError(f"{folder / split}.jsonl: holds no examples with {num} operations (numops)")
    return some


def _from_hub(source: str, uid: str) -> Sequence[TaskDocument]:
    name = data_name(source)
    try:
        with asked_once():
            return _hub_documents(source, uid)
    except InputError:
        raise
    except Exception as error:  # each library on the way to the Hub has exceptions of its own
        reason = known_away() or first_line(error)
        raise InputError(
            f"{SOURCES[name].title} ({uid}) cannot be read from the Hub dataset {SOURCES[name].published} ({reason}); to use "
            f"local files, set evaluation.paths.{name} to their folder, or {DATA_VARIABLE} to the folder that holds them as "
            f"{name}/*.jsonl"
        ) from None


def _hub_documents(source: str, uid: str) -> Sequence[TaskDocument]:
    import datasets

    if source == "blimp":
        split = datasets.load_dataset(SOURCES["blimp"].hub, uid, split="train")
        return tuple(_document(record, source, uid) for record in split.to_list())
    if source == "smallbench":
        split = datasets.load_dataset(*PROMPTS[uid].hub, split="validation")
        return tuple(_document(record, uid, f"{uid}, example {index}") for index, record in enumerate(split.to_list()))
    split = datasets.load_dataset(SOURCES["ewok"].hub, split="test")
    both_directions: list[TaskDocument] = []
    for record in split.to_list():
        if record["Domain"] == uid:
            swapped = {
                f"{key}{old}": record[f"{key}{new}"] for key in ("Context", "Target") for old, new in ("12", "21")
            }
            # As the pipeline's files have them.
            both_directions += [_document(each, source, uid) for each in (record, swapped)]
    return tuple(both_directions)


def data_origins(sources: Iterable[str], paths: Mapping[str, str]) -> dict[str, str]:
    """`local` or `hub` for each set of data that the sources read."""
    names = sorted({name for source in sources if (name := data_name(source))})
    return {name: "hub" if data_folder(name, paths) is None else "local" for name in names}


def documents_sha256(by_task: Mapping[str, Iterable[TaskDocument]]) -> str:
    """sha256 of what is asked and what is right, by task: equal ones mean comparable scores."""
    from lmeff.evaluation.results import requests_sha256

    return requests_sha256(
        {task: (each for one in of_task for each in asked(one)) for task, of_task in by_task.items()}
    )


class Documents(list):
    """Documents for lm-eval: a list, since reading rows from an Arrow table takes longer than all else lm-eval does."""

    @property
    def features(self) -> dict[str, None]:
        return dict.fromkeys(self[0])


def dataset(
    source: str, uid: str, data_paths: Mapping[str, str] | None = None, **model: object
) -> dict[str, Documents]:
    """lm-eval's `custom_dataset`: gets the task's `dataset_kwargs` and all metadata, of which `data_paths` is ours and `model`
    what lm-eval knows of the model."""
    task = task_name(source, uid)
    read = documents(source, uid, data_paths or {})
    if source == "smallbench":
        read = with_token_counts(read, model)
    return {"test": Documents({"task": task, "pair": index, **document} for index, document in enumerate(read))}
