"""What can go wrong, and the exit code it has."""

EXIT_FAILED = 1
EXIT_INPUT = 2
EXIT_INTERRUPTED = 75


class InputError(Exception):
    """A mistake in what the user gave us. Shown as one line for each mistake, never as a traceback; exit code 2."""

    def __init__(self, *mistakes: str) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class TooLittleText(InputError):
    """A source of a mixture has less text than is wanted of it. What was prepared is kept, since it may be read again."""


class Busy(InputError):
    """Somebody else is working on it."""


class RunFailed(Exception):
    """A run that cannot go on, through nobody's typing mistake: a diverged loss, say. One line; exit code 1."""
