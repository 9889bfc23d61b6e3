"""What the launcher really started, checked against what it was asked for."""

import os

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from transformers.utils import logging as transformers_logging

from lmeff.errors import InputError
from lmeff.training.process import launched_world_size


def settle_process() -> None:
    """For before the Trainer is imported: what DeepSpeed would guess aloud, one progress bar, and all cores of a CPU.

    `accelerate launch` gives a process one thread unless told otherwise; a process that is alone takes the cores it has.
    """
    if not torch.accelerator.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    transformers_logging.disable_progress_bar()
    launched = "ACCELERATE_MIXED_PRECISION" in os.environ
    if launched and launched_world_size() == 1 and os.environ.get("OMP_NUM_THREADS") == "1":
        torch.set_num_threads(len(os.sched_getaffinity(0)))


def engine_name(accelerator: Accelerator) -> str:
    """`plain`, `ddp`, `zero1`, `zero2` or `zero3`."""
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        return f"zero{accelerator.state.deepspeed_plugin.zero_stage}"
    return "ddp" if accelerator.num_processes > 1 else "plain"


def check_engine(accelerator: Accelerator) -> None:
    """Raises InputError when the run would not be what the launcher's configuration says.

    A run that believes to be two processes and is one would count its tokens wrong; some flags turn DeepSpeed off in silence.
    """
    if accelerator.num_processes != launched_world_size():
        raise InputError(
            f"accelerate launch: {launched_world_size()} processes were started but {accelerator.num_processes} work together;"
            " use one of the configurations in launchers/"
        )
    wants_deepspeed = os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true"
    if wants_deepspeed and accelerator.distributed_type != DistributedType.DEEPSPEED:
        raise InputError(
            "accelerate launch: DeepSpeed was asked for and is not in use; without a GPU put 'use_cpu: true' into the"
            " configuration file (launchers/cpu_zero2.yaml) instead of --cpu or ACCELERATE_USE_CPU"
        )
