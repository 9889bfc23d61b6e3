import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with BLiMP and other data that the project does not ship: LMEFF_TEST_DATA, else ../shared/data."""
    folder = Path(os.environ.get("LMEFF_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    if not folder.is_dir():
        reason = f"the shared test data are not at {folder}; set LMEFF_TEST_DATA"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return folder
