"""What a run leaves for people to read: the cards of its revisions, and its report.

They are written in a process of its own, `python -m lmeff.publishing.pages RUN`: the process that trained needs nothing that
draws, and a machine without these packages trains all the same.
"""

import subprocess
import sys
from pathlib import Path

from lmeff.errors import RunFailed
from lmeff.formats.run_folder import RunFolder
from lmeff.publishing.cards import missing_for_drawing, refresh_cards
from lmeff.runs.process import environment_without_launch


def write_pages(folder: Path) -> str:
    """Writes the pages of a run and returns a line about its report. Raises RunFailed."""
    command = [sys.executable, "-m", "lmeff.publishing.pages", str(folder)]
    # In a session of its own, so that a signal to the group of the run does not end it in the middle.
    answer = subprocess.run(
        command, env=environment_without_launch(), capture_output=True, text=True, start_new_session=True, check=False
    )
    if answer.returncode:
        reason = (answer.stderr.strip().splitlines() or [f"exit code {answer.returncode}"])[-1]
        raise RunFailed(f"{folder}: its cards and report could not be written: {reason}")
    return answer.stdout.strip()


def _write(folder: Path) -> str:
    refresh_cards(folder)
    if missing := missing_for_drawing():
        return f"no report: {', '.join(missing)} not installed; later: lmeff report {folder}"
    from lmeff.analysis import read_runs, write_report

    return f"report: {write_report(read_runs([folder]), RunFolder(folder).report_html)}"


if __name__ == "__main__":
    print(_write(Path(sys.argv[1])))
