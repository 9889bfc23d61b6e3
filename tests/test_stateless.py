"""Random numbers by what they are for."""

import numpy as np

from lmeff.stateless import stateless_seed, uniforms

MASK = (1 << 64) - 1


def literal(seed: int, count: int) -> list[float]:
    """SplitMix64 as its authors write it, in Python's own integers."""
    numbers = []
    for _ in range(count):
        seed = (seed + 0x9E3779B97F4A7C15) & MASK
        mixed = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & MASK
        numbers.append(((mixed ^ (mixed >> 31)) >> 11) / 2**53)
    return numbers


def test_numbers_are_those_of_the_literal_generator() -> None:
    seeds = [0, 5, stateless_seed(1, 2, 3, "mask")]
    assert uniforms(seeds, 6).tolist() == [literal(seed, 6) for seed in seeds]
    assert uniforms(seeds, 3).tolist() == uniforms(seeds, 6)[:, :3].tolist()
    many = uniforms([stateless_seed(0, step, "mask") for step in range(100)], 1000)
    assert abs(many.mean() - 0.5) < 4 * np.sqrt(1 / 12 / many.size)


def test_seeds_differ_with_every_part() -> None:
    assert stateless_seed(1, 2, 3) == 3751671686878481423
    assert (
        len({stateless_seed(1, 2, 3), stateless_seed(12, 3), stateless_seed(1, 2, 3, "mask"), stateless_seed(3, 2, 1)})
        == 4
    )
