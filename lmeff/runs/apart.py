"""Work of a run in a process of its own, which no launcher has told to work together with others.

Both sides are here: `run_apart` starts `python -m MODULE WORDS` and waits; in it, `answer_apart` does the work. What the work
says goes to the streams of the run as it comes; why it failed comes back by a file that only the two know.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable

from lmeff.errors import EXIT_FAILED, InputError, RunFailed
from lmeff.logs import set_verbosity
from lmeff.packages import missing_package
from lmeff.runs.process import end_with_parent, environment_without_launch, is_launched

_ANSWER = "LMEFF_ANSWER"
"""Parent's id and file descriptor of the answer."""


def run_apart(module: str, *words: str, own_session: bool = False) -> None:
    """Runs `python -m MODULE WORDS`, which must call `answer_apart`. Raises what that raised: InputError, RunFailed, or OSError
    with its number, such as for a full disk.

    Args:
        own_session: a signal to the run's process group does not reach it. It ends with this process in any case.
    """
    environment = environment_without_launch()
    if is_launched():
        environment.pop("OMP_NUM_THREADS", None)  # the launcher's share for one of several; alone it takes all cores
    with tempfile.TemporaryFile("w+") as answer:
        done = subprocess.run(
            [sys.executable, "-m", module, *words],
            env=environment | {_ANSWER: f"{os.getpid()} {answer.fileno()}"},
            pass_fds=[answer.fileno()],
            start_new_session=own_session,
            check=False,
        )
        answer.seek(0)
        text = answer.read()
    if done.returncode == 0:
        return
    said = json.loads(text) if text else {"failed": f"the process ended with {done.returncode}"}
    if "mistakes" in said:
        raise InputError(*said["mistakes"])
    if "errno" in said:
        raise OSError(said["errno"], said["text"])
    raise RunFailed(said["failed"])


def answer_apart(work: Callable[[], None]) -> int:
    """Does the work of a process that `run_apart` started; returns its exit code."""
    parent, descriptor = map(int, os.environ.pop(_ANSWER).split())
    end_with_parent(parent)
    set_verbosity(None)
    try:
        work()
        return 0
    except InputError as error:
        said: dict[str, object] = {"mistakes": error.mistakes}
    except RunFailed as error:
        said = {"failed": str(error)}
    except OSError as error:
        said = {"errno": error.errno, "text": error.strerror} if error.errno else {"failed": str(error)}
    except Exception as error:
        missing = missing_package(error)
        said = {"mistakes": [missing]} if missing else {"failed": f"{type(error).__name__}: {error}"}
    with os.fdopen(descriptor, "w") as file:
        json.dump(said, file)
    return EXIT_FAILED
