"""Types: `mypy --strict` finds nothing in the rooms of STRICT, and elsewhere no more than MAX_ERRORS, which may only fall.

python tests/check_types.py
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STRICT = (
    "lmeff/recipe",
    "lmeff/formats",
    "lmeff/runs",
    "lmeff/plan",
    "lmeff/tokens",
    "lmeff/revisions",
    "lmeff/measures/measure.py",
    "lmeff/measures/registry.py",
    "lmeff/measures/reuse.py",
    "lmeff/measures/selection.py",
)
MAX_ERRORS = 104


def errors(*words: str) -> list[str]:
    """What mypy finds."""
    command = [sys.executable, "-m", "mypy", *words]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if answer.returncode > 1:
        sys.exit(answer.stdout + answer.stderr)
    return [line for line in answer.stdout.splitlines() if re.search(r": error: ", line)]


def main() -> int:
    strict = errors("--strict", "--follow-imports=silent", *STRICT)
    everywhere = errors()
    print(*strict, sep="\n", end="\n" if strict else "")
    print(
        f"mypy --strict in {len(STRICT)} places: {len(strict)} errors; everywhere: {len(everywhere)}, at most {MAX_ERRORS}"
    )
    if len(everywhere) > MAX_ERRORS:
        print(*everywhere, sep="\n")
    elif len(everywhere) < MAX_ERRORS:
        print(f"set MAX_ERRORS in {Path(__file__).name} to {len(everywhere)}")
    return bool(strict or len(everywhere) > MAX_ERRORS)


if __name__ == "__main__":
    sys.exit(main())
