"""What an interval is over, in one word."""

from lmeff.analysis.reading.runs import Run


def has_pair_scores(run: Run, task: str) -> bool:
    """Whether scores of minimal pairs are behind a task."""
    paradigms = run.paradigms(task)
    return any(anchor.paradigm_scores.index.isin(paradigms).any() for anchor in run.anchors)


def over_examples(run: Run, task: str) -> str:
    """`pairs`, `items`, `documents` or `examples`: what a task's intervals are over. Of items several pairs were made."""
    results = [anchor.results.tasks[task] for anchor in run.anchors if task in anchor.results.tasks]
    if any((result.num_samples or 0) < (result.num_examples or 0) for result in results):
        return "items"
    return examples_of(run, task)


def examples_of(run: Run, task: str) -> str:
    """`pairs`, `documents` or `examples`: what is counted of a task."""
    results = [anchor.results.tasks[task] for anchor in run.anchors if task in anchor.results.tasks]
    if any(result.kind == "pairs" for result in results) or has_pair_scores(run, task):
        return "pairs"
    return "documents" if any(result.kind == "perplexity" for result in results) else "examples"
