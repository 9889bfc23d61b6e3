"""Spearman correlation, as a module for `evaluate.load("FOLDER/spearman")`."""

import datasets
import evaluate
from scipy.stats import spearmanr


class Spearman(evaluate.Metric):
    """Spearman correlation of two series; 0 where one is constant, which says nothing about the other."""

    def _info(self) -> evaluate.MetricInfo:
        features = {"predictions": datasets.Value("float64"), "references": datasets.Value("float64")}
        return evaluate.MetricInfo(
            description=self.__doc__, citation="", inputs_description="", features=datasets.Features(features)
        )

    def _compute(self, predictions: list[float], references: list[float]) -> dict[str, float]:
        constant = len(set(predictions)) < 2 or len(set(references)) < 2
        return {"spearman": 0.0 if constant else float(spearmanr(predictions, references).statistic)}
