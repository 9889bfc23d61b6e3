"""launchers/multi_node.yaml: two machines with a process each, played by two launches that meet on loopback."""

import socket
import subprocess
from pathlib import Path

import pytest
from launching import ROOT, curve, finish, read_lines, run_folder, start, weights, write_recipe

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def test_two_machines_share_a_folder_and_nothing_else(tmp_path: Path) -> None:
    """The anchors are there, and the losses are those of one process."""
    recipe = write_recipe(tmp_path)
    finish(start(None, str(recipe), "name=plain"))
    config = tmp_path / "two_cpus.yaml"
    config.write_text((ROOT / "launchers" / "multi_node.yaml").read_text().replace("use_cpu: false", "use_cpu: true"))
    options = ("--num_processes", "2", "--main_process_port", str(free_port()), "--machine_rank")
    machines = [
        start(str(config), str(recipe), "name=machines", options=(*options, rank), popen=subprocess.Popen)
        for rank in ("0", "1")
    ]
    said = [finish(machine) for machine in machines]
    run, plain = run_folder(recipe, "machines"), run_folder(recipe, "plain")
    assert "complete" in said[0]
    assert set(weights(run)) == set(weights(plain))
    assert read_lines(run / "samples.jsonl") == read_lines(plain / "samples.jsonl")
    for ours, theirs in zip(curve(run), curve(plain), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
