"""Random numbers by what they are for."""

import numpy as np
from splitmix import literal_numbers

from lmeff.stateless import stateless_seed, uniforms


def test_numbers_are_those_of_the_literal_generator() -> None:
    seeds = [0, 5, stateless_seed(1, 2, 3, "mask")]
    assert uniforms(seeds, 6).tolist() == [literal_numbers(seed, 6) for seed in seeds]
    assert uniforms(seeds, 3).tolist() == uniforms(seeds, 6)[:, :3].tolist()
    many = uniforms([stateless_seed(0, step, "mask") for step in range(100)], 1000)
    assert abs(many.mean() - 0.5) < 4 * np.sqrt(1 / 12 / many.size)


def test_seeds_differ_with_every_part() -> None:
    assert stateless_seed(1, 2, 3) == 3751671686878481423
    assert (
        len({stateless_seed(1, 2, 3), stateless_seed(12, 3), stateless_seed(1, 2, 3, "mask"), stateless_seed(3, 2, 1)})
        == 4
    )
