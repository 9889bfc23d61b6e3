"""Matthews correlation, as a module for `evaluate.load("FOLDER/mcc")`."""

import datasets
import evaluate
from sklearn.metrics import matthews_corrcoef


class Mcc(evaluate.Metric):
    """Matthews correlation coefficient (Matthews 1975), from -1 to 1; 0 for a constant prediction."""

    def _info(self) -> evaluate.MetricInfo:
        features = {"predictions": datasets.Value("int32"), "references": datasets.Value("int32")}
        return evaluate.MetricInfo(
            description=self.__doc__, citation="", inputs_description="", features=datasets.Features(features)
        )

    def _compute(self, predictions: list[int], references: list[int]) -> dict[str, float]:
        constant = len(set(predictions)) < 2 or len(set(references)) < 2
        return {"mcc": 0.0 if constant else float(matthews_corrcoef(references, predictions))}
