import pytest
from analysis.fake_runs import write_fake_run


@pytest.fixture
def fake_run(tmp_path):
    """`fake_run(**options)` writes a run folder under this test's own folder and returns its path."""
    return lambda **options: write_fake_run(tmp_path / "outputs", **options)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory):
    """A whole finished run; read it, do not change it."""
    return write_fake_run(tmp_path_factory.mktemp("finished") / "outputs", num_pairs=200)
