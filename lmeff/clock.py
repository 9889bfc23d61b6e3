"""Steps, tokens and sequences of a run: the only place where one is computed from another."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """Converts between optimizer steps and training tokens. Tokens are sequence positions, so padding counts too."""

    batch_tokens: int
    """Tokens of one optimizer step over all devices."""
    sequence_length: int
    """Tokens of one sequence; a sequence that is cut into shorter ones counts as one."""

    def __post_init__(self) -> None:
        """Raises ValueError when a step does not consist of whole sequences."""
        if self.batch_tokens < 1 or self.sequence_length < 1 or self.batch_tokens % self.sequence_length:
            raise ValueError(
                f"a step of {self.batch_tokens} tokens does not consist of whole sequences of {self.sequence_length}"
            )

    @property
    def sequences_per_step(self) -> int:
        return self.batch_tokens // self.sequence_length

    def tokens_at(self, step: int) -> int:
        """Tokens consumed by the first `step` steps. Raises ValueError when `step` is below 0."""
        return _not_negative("step", step) * self.batch_tokens

    def sequences_at(self, step: int) -> int:
        """Sequences read by the first `step` steps, which is also the number of the first sequence of the next step. Raises
        ValueError when `step` is below 0."""
        return _not_negative("step", step) * self.sequences_per_step

    def step_of(self, num_tokens: int) -> int:
        """The first step after which at least `num_tokens` were consumed: `ceil(num_tokens / batch_tokens)`. Raises ValueError
        when `num_tokens` is below 0."""
        return -(-_not_negative("num_tokens", num_tokens) // self.batch_tokens)

    def epochs_at(self, step: int, train_tokens: int) -> float:
        """Passes over a training text of `train_tokens` positions after `step` steps. The end of the text, if it fills no
        sequence, is never read. Raises ValueError when the text is shorter than one sequence."""
        if train_tokens < self.sequence_length:
            raise ValueError(f"{train_tokens} tokens are less than one sequence of {self.sequence_length}")
        return self.tokens_at(step) / (train_tokens // self.sequence_length * self.sequence_length)


def _not_negative(name: str, value: int) -> int:
    if value < 0:
        raise ValueError(f"{name} is {value}, which is below 0")
    return value
