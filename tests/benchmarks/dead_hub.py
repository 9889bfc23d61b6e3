"""What a Hub that is away costs training: the time of the steps with a dead and a hanging Hub, against that with none.

    python tests/benchmarks/dead_hub.py [--steps 150] [--repeats 3]

Every run trains the layers of recipes/leaner_small.yaml on generated text with an anchor at every fifth of the way, on all
cores, so that whatever works beside it has to take its time from training. The time is the wall time of the steps alone
(`train_seconds` of the last anchor). `none` publishes nowhere; `dead` publishes to a port where nobody listens, `hanging` to a
server that takes every request and never answers. Interleaved; medians.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from hub_server import TOKEN, HubServer  # noqa: E402
from launching import finish, start  # noqa: E402


def train_seconds(folder: str, name: str, steps: int, *words: str) -> float:
    """Trains once; the wall seconds of its steps."""
    recipe = yaml.safe_load((ROOT / "recipes" / "leaner_small.yaml").read_text())
    path = Path(folder) / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe | {"corpus": {"name": "synthetic", "epochs": 9}}))
    tokens = steps * 4096
    anchors = ",".join(str(tokens * part // 5) for part in range(6))
    words = (f"name={name}", "schedule.warmup=0.02", "tokenizer.vocab_size=1024", "evaluation.tasks=[]", *words)
    words = (*words, f"anchors.tokens=[{anchors}]", f"paths.outputs={folder}/outputs", f"paths.data={folder}/data")
    finish(start(None, str(path), *words, popen=subprocess.Popen), timeout=1800)
    run = Path(folder) / "outputs" / name / "seed-0" / "revisions"
    return json.loads((run / "seed-0" / "anchor.json").read_text())["train_seconds"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": str(os.cpu_count()), "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}
    seconds: dict[str, list[float]] = {"none": [], "dead": [], "hanging": []}
    with tempfile.TemporaryDirectory() as folder, HubServer() as hub, hub.fault(".*", "hang"):
        with HubServer() as other:
            nobody = other.url  # closed on leaving
        hub_words = ("publish.to=hub", "publish.namespace=tester")
        for repeat in range(options.repeats + 1):
            for kind in seconds:
                os.environ["HF_ENDPOINT"] = hub.url if kind == "hanging" else nobody
                words = () if kind == "none" else hub_words
                took = train_seconds(folder, f"{kind}{repeat}", options.steps, *words)
                if repeat:  # the first round prepares text and tokens, and warms up
                    seconds[kind].append(took)
                    print(f"{kind}: {took:.2f} s", flush=True)
    median = {kind: statistics.median(values) for kind, values in seconds.items()}
    dead, hanging = median["dead"] / median["none"], median["hanging"] / median["none"]
    print(f"{options.steps} steps without a Hub {median['none']:.2f} s; ratio dead {dead:.3f}, hanging {hanging:.3f}")


if __name__ == "__main__":
    main()
