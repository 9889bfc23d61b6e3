"""Every script in `tests/benchmarks/` says what it is for."""

import sys
from pathlib import Path

import prepared
import pytest

SCRIPTS = [
    path for path in sorted((Path(__file__).parent / "benchmarks").glob("*.py")) if "__main__" in path.read_text()
]


@pytest.mark.slow
def test_each_benchmark_has_help() -> None:
    assert len(SCRIPTS) > 20
    for script in SCRIPTS:
        done = prepared.run([sys.executable, str(script), "--help"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), script.name
        assert done.stdout.startswith("usage: "), script.name
        assert f"{script.name} " in done.stdout
