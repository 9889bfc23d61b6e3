"""Whether two versions of lmeff make the same bits: weights, losses, plans, scores, runs that one begins and the other ends.

    python tests/benchmarks/same_bits.py --against COMMIT|DIR              # this version with that one, in one go

    python tests/benchmarks/same_bits.py --package DIR --out old.json      # or in steps: the pins of another checkout,
    python tests/benchmarks/same_bits.py --began-by DIR --out new.json     # those of this one, which ends that one's runs,
    python tests/benchmarks/same_bits.py --compare old.json new.json       # and what is equal

The exit code is 1 when a pin differs or is missing. A pin is what a command leaves or prints, without times, paths, versions of
packages, names of modules and the field `kind` (`pins.py`). Text is made here, so neither data nor a network is needed, and
only commands and files are used, so modules may move. Bits depend on the number of threads: 1, or OMP_NUM_THREADS.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from benchmarks.pins import SECTIONS, Checkout, CommandFailed, Work  # noqa: E402


def take(package: Path, began_by: Path, sections: list[str], jobs: int) -> dict[str, dict]:
    """The pins of a checkout by section and name, and what else bits depend on."""

    def pins_of(section: str) -> dict[str, object]:
        begun = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            try:
                pins = SECTIONS[section](Work(Checkout(package), Checkout(began_by), Path(folder).resolve()))
            except (CommandFailed, AssertionError) as error:
                print(f"{section}: FAILED: {error}", file=sys.stderr, flush=True)
                return {}
        print(f"{section}: {len(pins)} pins in {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
        return {f"{section}: {name}": value for name, value in pins.items()}

    for root in (package, began_by):
        Checkout(root).check()
    with ThreadPoolExecutor(jobs) as pool:
        taken = list(pool.map(pins_of, sections))
    made_with = {
        name: version(name) for name in ("torch", "transformers", "accelerate", "deepspeed", "lm-eval", "numpy")
    }
    made_with |= {"python": platform.python_version(), "threads": os.environ.get("OMP_NUM_THREADS", "1")}
    return {"made_with": made_with, "pins": {name: value for pins in taken for name, value in pins.items()}}


def first_difference(old: object, new: object, where: str = "") -> str | None:
    """Where two JSON values differ first, the order of keys included, and what stands there."""
    if isinstance(old, dict) and isinstance(new, dict) and list(old) == list(new):
        pairs = ((f"{where}/{key}", old[key], new[key]) for key in old)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = ((f"{where}/{index}", *both) for index, both in enumerate(zip(old, new, strict=True)))
    elif isinstance(old, dict) and isinstance(new, dict):
        gone, come = [key for key in old if key not in new], [key for key in new if key not in old]
        return (
            f"{where or '/'}: without {gone}, with {come}" if gone or come else f"{where or '/'}: keys in another order"
        )
    else:
        return None if repr(old) == repr(new) else f"{where or '/'}: {str(old)[:200]} | {str(new)[:200]}"
    return next((said for place, *both in pairs if (said := first_difference(*both, place))), None)


def compare(old: dict[str, dict], new: dict[str, dict]) -> int:
    """Prints every pin; returns the exit code."""
    if said := first_difference(old["made_with"], new["made_with"]):
        print(f"made with other software, which alone may change bits: {said}")
    num_equal = 0
    for name, value in old["pins"].items():
        said = first_difference(value, new["pins"][name]) if name in new["pins"] else "is missing"
        num_equal += said is None
        print(f"equal    {name}" if said is None else f"DIFFERS  {name}\n         {said}")
    for name in new["pins"]:
        if name not in old["pins"]:
            print(f"new      {name}")
    print(f"{num_equal} of {len(old['pins'])} pins are equal")
    return 0 if num_equal == len(old["pins"]) else 1


@contextmanager
def checkout_of(commit: str) -> Iterator[Path]:
    """A folder with that commit, or the folder itself."""
    if Path(commit).is_dir():
        yield Path(commit)
        return
    with tempfile.TemporaryDirectory() as folder:
        git = ("git", "-C", str(ROOT), "worktree")
        subprocess.run([*git, "add", "--quiet", "--detach", f"{folder}/lmeff", commit], check=True)
        try:
            yield Path(folder) / "lmeff"
        finally:
            subprocess.run([*git, "remove", "--force", f"{folder}/lmeff"], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", metavar="COMMIT|DIR", help="take the pins of that version, too, and compare")
    parser.add_argument("--package", type=Path, default=ROOT, metavar="DIR", help="whose pins (default: this checkout)")
    text = "the checkout that begins the runs which this one ends or reads (default: itself)"
    parser.add_argument("--began-by", type=Path, metavar="DIR", help=text)
    parser.add_argument("--out", type=Path, metavar="FILE", help="where the pins go")
    parser.add_argument("--compare", type=Path, nargs=2, metavar="FILE", help="the pins of two versions")
    text = f"some of: {', '.join(SECTIONS)} (default: all)"
    parser.add_argument("--only", type=lambda word: word.split(","), default=list(SECTIONS), metavar="S,...", help=text)
    parser.add_argument("--jobs", type=int, default=2, help="sections at once (2)")
    options = parser.parse_args()
    if unknown := [section for section in options.only if section not in SECTIONS]:
        parser.error(f"--only: {unknown[0]!r} is not one of {', '.join(SECTIONS)}")
    if options.compare:
        return compare(*(json.loads(path.read_text()) for path in options.compare))
    if options.against:
        with checkout_of(options.against) as other:
            old = take(other, other, options.only, options.jobs)
            return compare(old, take(options.package, other, options.only, options.jobs))
    if not options.out:
        parser.error("say --against COMMIT, --out FILE or --compare OLD NEW")
    pins = take(options.package, options.began_by or options.package, options.only, options.jobs)
    options.out.write_text(json.dumps(pins, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
