"""MultiRC's scores, as a module for `evaluate.load("FOLDER/multirc")`."""

import datasets
import evaluate
from sklearn.metrics import f1_score


class Multirc(evaluate.Metric):
    """`f1a`: F1 over all answers. `em`: share of questions whose answers were all judged rightly (Khashabi et al. 2018)."""

    def _info(self) -> evaluate.MetricInfo:
        features = {
            "predictions": datasets.Value("int32"),
            "references": datasets.Value("int32"),
            "questions": datasets.Value("string"),
        }
        return evaluate.MetricInfo(
            description=self.__doc__, citation="", inputs_description="", features=datasets.Features(features)
        )

    def _compute(self, predictions: list[int], references: list[int], questions: list[str]) -> dict[str, float]:
        is_right: dict[str, bool] = {}
        for question, predicted, reference in zip(questions, predictions, references, strict=True):
            is_right[question] = is_right.get(question, True) and predicted == reference
        f1a = f1_score(references, predictions, pos_label=1, zero_division=0)
        return {"f1a": float(f1a), "em": sum(is_right.values()) / len(is_right)}
