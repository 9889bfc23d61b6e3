"""Accuracy, as a module for `evaluate.load("FOLDER/acc")`."""

import datasets
import evaluate
from sklearn.metrics import accuracy_score


class Acc(evaluate.Metric):
    """Share of labels that were predicted rightly."""

    def _info(self) -> evaluate.MetricInfo:
        features = {"predictions": datasets.Value("int32"), "references": datasets.Value("int32")}
        return evaluate.MetricInfo(
            description=self.__doc__, citation="", inputs_description="", features=datasets.Features(features)
        )

    def _compute(self, predictions: list[int], references: list[int]) -> dict[str, float]:
        return {"acc": float(accuracy_score(references, predictions))}
