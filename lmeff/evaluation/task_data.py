"""Which data the numbers of a task are over: where they come from, and a sha256 that equal data have in common."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lmeff.evaluation.results import requests_sha256
from lmeff.evaluation.tasks.checks import own_leaves
from lmeff.evaluation.tasks.data import Documents, data_origins, documents, documents_sha256


@dataclass(frozen=True)
class TaskData:
    """The data that tasks or groups read, as far as they are known without lm-eval."""

    paths: Mapping[str, str]
    """Folders by name (`evaluation.paths`)."""
    limit: int | None
    """Only the first N examples of every task; None: all."""

    def is_ours(self, task: str) -> bool:
        """Whether a task or group of ours reads the data, and not one of lm-eval or of the user."""
        return bool(own_leaves([task], self.paths))

    def origins(self, task: str) -> dict[str, str]:
        """`local` or `hub` for each set of data, by name."""
        return data_origins({leaf.source for leaf in own_leaves([task], self.paths)}, self.paths)

    def sha256(self, task: str) -> str | None:
        """What a task is asked now; None when only lm-eval or the Hub could tell."""
        leaves = own_leaves([task], self.paths)
        if not leaves or "hub" in self.origins(task).values():
            return None
        return documents_sha256(
            {leaf.name: documents(leaf.source, leaf.uid, self.paths)[: self.limit] for leaf in leaves}
        )

    def loaded_sha256(self, tasks: Mapping[str, Any]) -> str:
        """What lm-eval's tasks ask and what is right: for tasks of ours the same as `sha256`."""
        if all(isinstance(task.eval_docs, Documents) for task in tasks.values()):
            return documents_sha256({name: task.eval_docs[: self.limit] for name, task in tasks.items()})
        requests = {
            name: ([json.dumps([request.args, request.doc], sort_keys=True, default=str)] for request in task.instances)
            for name, task in tasks.items()
        }
        return requests_sha256(requests)
