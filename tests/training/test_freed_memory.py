"""Memory that a training on a CPU frees is used again, in place of being mapped anew."""

import os
import sys

import prepared
import pytest

# Prints the pages of 64 MiB that 32 tensors of that size made the kernel map, one after the other.
PROGRAM = """
import resource, sys
import torch
from lmeff.training.engines.engine import prepare_process
prepare_process()
def num_faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.zeros(1 << 24)
before = num_faults()
for _ in range(32):
    torch.zeros(1 << 24)
print((num_faults() - before) * resource.getpagesize() >> 26)
"""


def times_mapped(**variables: str) -> int:
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    environment = mine | {"CUDA_VISIBLE_DEVICES": ""} | variables
    done = prepared.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.medium
def test_what_is_freed_is_used_again_and_the_environment_may_say_otherwise():
    assert times_mapped() <= 4
    assert times_mapped(MALLOC_TRIM_THRESHOLD_="131072") >= 31
