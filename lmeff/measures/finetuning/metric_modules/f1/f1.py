"""F1, as a module for `evaluate.load("FOLDER/f1")`."""

import datasets
import evaluate
from sklearn.metrics import f1_score


class F1(evaluate.Metric):
    """F1 of label 1, as GLUE has it (`average="binary"`), or the mean over labels (`average="macro"`); 0 where undefined."""

    def _info(self) -> evaluate.MetricInfo:
        features = {"predictions": datasets.Value("int32"), "references": datasets.Value("int32")}
        return evaluate.MetricInfo(
            description=self.__doc__, citation="", inputs_description="", features=datasets.Features(features)
        )

    def _compute(self, predictions: list[int], references: list[int], average: str = "binary") -> dict[str, float]:
        return {"f1": float(f1_score(references, predictions, average=average, pos_label=1, zero_division=0))}
