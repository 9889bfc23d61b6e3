"""What a run leaves for people to read: the cards of its revisions, and its report.

They are written in a process of its own, `python -m lmeff.publishing.pages RUN`: the process that trained needs nothing that
draws, and a machine without these packages trains all the same.
"""

import sys
from pathlib import Path

from lmeff.formats.run_folder import RunFolder
from lmeff.publishing.cards import missing_for_drawing, refresh_cards
from lmeff.runs.apart import answer_apart, run_apart


def write_pages(folder: Path) -> str:
    """Writes the pages of a run and returns a line about its report. Raises InputError, RunFailed and OSError."""
    # A signal to the group of the run does not end it in the middle.
    run_apart("lmeff.publishing.pages", str(folder), own_session=True)
    if missing := missing_for_drawing():
        return f"no report: {', '.join(missing)} not installed; later: lmeff report {folder}"
    return f"report: {RunFolder(folder).report_html}"


def _write(folder: Path) -> None:
    refresh_cards(folder)
    if not missing_for_drawing():
        from lmeff.analysis import read_runs, write_report

        write_report(read_runs([folder]), RunFolder(folder).report_html)


if __name__ == "__main__":
    sys.exit(answer_apart(lambda: _write(Path(sys.argv[1]))))
