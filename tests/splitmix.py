"""The generator of stateless draws in Python's own integers, to compare with."""

_64_BITS = (1 << 64) - 1


def literal_numbers(seed: int, count: int) -> list[float]:
    """SplitMix64 as its authors write it, in Python's own integers."""
    numbers = []
    for _ in range(count):
        seed = (seed + 0x9E3779B97F4A7C15) & _64_BITS
        mixed = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & _64_BITS
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _64_BITS
        numbers.append(((mixed ^ (mixed >> 31)) >> 11) / 2**53)
    return numbers
