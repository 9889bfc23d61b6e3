"""How far a student is from its teachers at each position: KL(p || q) of their probabilities at the temperature, in nats.

What is known of p differs: all of it, its likeliest tokens, or a sample.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Literal

import torch

Average = Literal["logits", "probabilities"]


class TeacherTerm(ABC):
    """What `said` holds for a position, and the distance to it."""

    @abstractmethod
    def distance(self, log_q: torch.Tensor, said: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """(rows, positions) float32.

        Args:
            log_q: the student's log-probabilities at the temperature, (rows, positions, vocabulary) float32.
            said: what the teachers say of the same rows.
        """


def teacher_log_probabilities(
    logits: Sequence[torch.Tensor], temperature: float, average: Average, vocab_size: int
) -> torch.Tensor:
    """Those of all teachers together at the temperature, (rows, positions, `vocab_size`) float32. A teacher may have one more
    entry, `<mask>`, which is left out.

    The mean of logits is the normalized geometric mean of the teachers' probabilities; that of `probabilities` is their
    mixture.
    """
    scaled = [one[..., :vocab_size].float() / temperature for one in logits]
    if average == "logits":
        return torch.stack(scaled).mean(0).log_softmax(-1) if len(scaled) > 1 else scaled[0].log_softmax(-1)
    return torch.stack([one.log_softmax(-1) for one in scaled]).logsumexp(0) - math.log(len(scaled))


class WholeTerm(TeacherTerm):
    """`said` has the logits of each teacher under its number, (rows, positions, vocabulary) in the teacher's precision."""

    def __init__(self, temperature: float, average: Average) -> None:
        self.temperature, self.average = temperature, average

    def distance(self, log_q: torch.Tensor, said: Mapping[str, torch.Tensor]) -> torch.Tensor:
        logits = [said[str(number)] for number in range(len(said))]
        with torch.no_grad():
            log_p = teacher_log_probabilities(logits, self.temperature, self.average, log_q.shape[-1])
        return (log_p.exp() * (log_p - log_q)).sum(-1)


class TopKTerm(TeacherTerm):
    """Of the k likeliest tokens `said` has `ids`, and `values` (float16): how much their logits at the temperature are below
    the highest one; and `log_sum_exp` (float32) of all of these differences. All other tokens are one more outcome, the tail.

    Nothing is renormalized to the k tokens, which would teach that all else is impossible. The distance is that over k + 1
    outcomes, which is never above that over all tokens.
    """

    def distance(self, log_q: torch.Tensor, said: Mapping[str, torch.Tensor]) -> torch.Tensor:
        ids = said["ids"].long()
        log_p = said["values"].view(torch.float16).float() - said["log_sum_exp"].view(torch.float32)[..., None]
        p = log_p.exp()
        distance = (p * (log_p - log_q.gather(-1, ids))).sum(-1)
        if ids.shape[-1] == log_q.shape[-1]:
            return distance
        # Values are rounded, so that a tail which is nearly nothing may come out below it.
        tail = (1 - p.sum(-1)).clamp(min=1e-12)
        log_q_tail = log_q.scatter(-1, ids, -math.inf).logsumexp(-1)
        return distance + tail * (tail.log() - log_q_tail)


class SampledTerm(TeacherTerm):
    """`said` has `ids` that were drawn from p, and their log-probabilities there, `values` (float16). The mean over them is the
    distance in expectation, and so is its gradient."""

    def distance(self, log_q: torch.Tensor, said: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return (said["values"].view(torch.float16).float() - log_q.gather(-1, said["ids"].long())).mean(-1)
