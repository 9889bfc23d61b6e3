"""A run that is short, and what the tests see and stop of it while it is a job."""

import json
import os
import signal
import time
from pathlib import Path

NUM_STEPS = 40
# No checkpoint falls due: what a run goes on from was written because it was interrupted.
RECIPE = """
name: {name}
corpus: {{name: stories, paths: ['{folder}/stories.jsonl'], dev_share: 0.1, epochs: 10}}
tokenizer: {{vocab_size: 320}}
model: {{hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 2, attention_dropout: 0.1}}
batch: {{tokens: 128, sequence_length: 32, micro: 2}}
anchors: {{tokens: [0, 2k, {last_tokens}]}}
optimizer: {{learning_rate: 3e-3}}
schedule: {{warmup: 5 steps}}
training: {{logging_steps: 1}}
checkpoints: {{every_steps: 1000}}
evaluation: {{dev_tokens: 1000}}
paths: {{outputs: '{folder}/outputs', data: '{folder}/data'}}
"""


def read_weights(run: Path) -> str:
    return json.loads((run / "revisions" / "seed-0" / "anchor.json").read_text())["weights_sha256"]


def read_state(run: Path) -> dict:
    return json.loads((run / "state.json").read_text())


def stop_in_the_middle(run: Path, timeout_seconds: float = 300) -> int:
    """Waits for the first steps of a run and stops its process, whose id it returns."""
    deadline = time.monotonic() + timeout_seconds
    log = run / "run.log.jsonl"
    while not (log.exists() and log.read_text().count("\n") >= 3):
        assert time.monotonic() < deadline, "the run has not begun"
        time.sleep(0.01)
    pid = read_state(run)["pid"]
    os.kill(pid, signal.SIGSTOP)
    assert log.read_text().count("\n") < NUM_STEPS
    return pid


def wait_for_signal(pid: int, number: signal.Signals, timeout_seconds: float = 120) -> None:
    """Waits until a signal is pending for a stopped process."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        if int(status["ShdPnd"], 16) >> (number - 1) & 1:
            return
        assert time.monotonic() < deadline, f"no {number.name} came"
        time.sleep(0.1)
