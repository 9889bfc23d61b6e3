"""What `predict` says, as tables for a notebook."""

from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from lmeff.analysis.prediction.text import predict_text


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """How early scores tell their end. Printed, it is the text of `lmeff predict`."""

    document: dict
    """All that `lmeff predict --json` says."""

    @property
    def sentence(self) -> str:
        return self.document["sentence"]

    @property
    def notes(self) -> list[str]:
        return self.document["notes"]

    @cached_property
    def tables(self) -> dict[str, pd.DataFrame]:
        """A table for each list of rows: `agreement`, `errors`, `predictions` and so on."""
        rows = {name: value for name, value in self.document.items() if isinstance(value, list) and name != "notes"}
        return {name: pd.DataFrame(value) for name, value in rows.items()}

    def __getitem__(self, name: str) -> pd.DataFrame:
        return self.tables[name]

    def __str__(self) -> str:
        return predict_text(self.document)

    def __repr__(self) -> str:
        return f"Prediction({self.sentence!r})"
