"""Whether the disk has room for what a run will write."""

import shutil
from contextlib import suppress
from pathlib import Path

from lmeff.formats.plan import PlanDocument
from lmeff.formats.run_folder import RunFolder
from lmeff.logs import warn
from lmeff.quantities import format_bytes


def check_space(run: RunFolder, plan: PlanDocument) -> None:
    """Warns before the first step when the disk has less room than the run may need."""
    free = shutil.disk_usage(run.path).free
    # Text and tokens are there by now, and counted as what is not free.
    missing = plan.disk_bytes - (plan.data_bytes or 0) - _bytes_of_weights(run.path) - free
    if missing > 0:
        warn(
            f"{run}: this run may need {format_bytes(missing)} more than the {format_bytes(free)} that are free there;"
            " lower checkpoints.keep, leave out anchors or make room"
        )


def _bytes_of_weights(folder: Path) -> int:
    """Bytes that revisions and checkpoints take already; other processes may be adding and removing some."""
    sizes = {}
    for path in folder.rglob("*.safetensors"):
        with suppress(FileNotFoundError):
            sizes[path.stat().st_ino] = path.stat().st_size
    return sum(sizes.values())
