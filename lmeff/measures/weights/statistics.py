"""What a model's weights say by themselves: norms, effective ranks, and how far they are from those of another model.

Tensors are read one by one out of safetensors and sorted into kinds by their names, so this works for any architecture.

Sources: effective rank as in Roy & Vetterli 2007, "The effective rank: a measure of effective dimensionality"; stable rank
as in Rudelson & Vershynin 2007, "Sampling from large matrices".
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from math import isfinite, sqrt
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from lmeff.errors import InputError
from lmeff.files import read_json
from lmeff.models.buffers import is_buffer
from lmeff.models.device import choose_device

KINDS = ("embedding", "attention", "mlp", "norm", "head", "other")
_PATTERNS = {
    "norm": r"(^|\.)([^.]*norm[^.]*|ln_?\w{0,4})(\.(weight|bias))?$",
    "head": r"^(model\.|transformer\.)?(lm_head|lm_loss|embed_out|head|score|classifier|cls|output)\.|^decoder\.(weight|bias)$",
    "embedding": r"(?<!seg_)embed|(^|\.)(wte|wpe|shared)\.|mask_emb$",
    "attention": r"attn|attention",
    "mlp": r"mlp|feed_?forward|ffn|(^|\.)(fc\d|ff\.)|intermediate|dense|expert|moe|\.layer\.\d+\.output\.",
}
"""In this order: the norm inside an attention is a norm."""
_BY_HEADS = re.compile(r"\.rel_attn\.[qkvor]$")
"""XLNet's matrices of attention, in three dimensions: (width, heads, width of a head). Its biases have two."""
_BLOCK = 1 << 17
"""Numbers that are turned into float64 at once: so few that they stay in a processor's cache."""
_GRAM_BLOCK = 1 << 22
_MAX_THREADS = 16


def kind_of(name: str) -> str:
    """What a parameter belongs to, by its name: one of `KINDS`."""
    return next((kind for kind, pattern in _PATTERNS.items() if re.search(pattern, name, re.IGNORECASE)), "other")


class Weights:
    """The parameters of a model folder, on disk.

    Buffers that are saved beside them, such as the causal masks of old GPT-2 files, are left out, and so is an output
    embedding that equals the input embedding. Raises InputError for a folder without readable safetensors.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._paths: dict[str, Path] = {}
        for path in _files(folder):
            with _opened(path) as file:
                for name in sorted(file.keys()):
                    part = file.get_slice(name)
                    shape = tuple(part.get_shape())
                    if part.get_dtype().startswith(("F", "BF")) and not is_buffer(name, shape):
                        self.shapes[name], self._paths[name] = shape, path
        if not self.shapes:
            raise InputError(f"{folder}: its safetensors hold no parameters")
        for name in self._tied_heads():
            del self.shapes[name], self._paths[name]

    def _tied_heads(self) -> list[str]:
        embeddings = [name for name in self.shapes if kind_of(name) == "embedding"]
        heads = [name for name, shape in self.shapes.items() if kind_of(name) == "head" and len(shape) == 2]
        pairs = ((head, name) for head in heads for name in embeddings if self.shapes[name] == self.shapes[head])
        return sorted({head for head, name in pairs if torch.equal(self.read(head), self.read(name))})

    def read(self, name: str) -> torch.Tensor:
        """One parameter in float32."""
        with _opened(self._paths[name]) as file:
            return file.get_tensor(name).to(torch.float32)


def parameters_of(folder: Path) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Names and shapes of all that a folder's safetensors hold, without reading it."""
    parameters = []
    for path in _files(folder):
        with _opened(path) as file:
            parameters += [(name, tuple(file.get_slice(name).get_shape())) for name in file.keys()]  # noqa: SIM118
    return tuple(sorted(parameters))


def _files(folder: Path) -> list[Path]:
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if index.is_file():
        return sorted({folder / name for name in read_json(index).get("weight_map", {}).values()})
    paths = sorted(path for path in folder.glob("*.safetensors") if path.name != "optimizer.safetensors")
    if not paths:
        raise InputError(f"{folder}: holds no safetensors weights")
    return paths


@contextmanager
def _opened(path: Path) -> Iterator[safe_open]:
    try:
        with safe_open(path, "pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not readable as safetensors ({' '.join(str(error).split())})") from None


def effective_and_stable_rank(matrix: torch.Tensor) -> tuple[float, float]:
    """Effective rank `exp(H(s / sum(s)))` of the singular values s, H being the entropy, and stable rank `sum(s^2) / max(s)^2`.

    Both lie between 1 and the rank, and are 0 for a matrix of zeros. `matrix` has two dimensions. Singular values are the roots
    of the eigenvalues of its smaller Gram matrix in float64, where what squaring loses, 1e-8 of the largest, is less than the
    rounding of float32 weights; that takes a third to two thirds of the time of `svdvals` in float64.
    """
    matrix = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    gram = torch.zeros(matrix.shape[1], matrix.shape[1], dtype=torch.float64)
    for block in matrix.split(max(1, _GRAM_BLOCK // matrix.shape[1])):
        block = block.double()
        gram.addmm_(block.T, block)
    values = torch.linalg.eigvalsh(gram).clamp_(min=0)
    if not values[-1] > 0:
        return 0.0, 0.0
    singular = values.sqrt()
    shares = singular / singular.sum()
    return float(torch.special.entr(shares).sum().exp()), float(values.sum() / values[-1])


def norms_and_ranks(weights: Weights, check: Callable[[], None] = lambda: None) -> tuple[dict[str, float], int]:
    """Measures of one model, and the number of matrices behind its ranks.

    `norm` and `norm_KIND` are Frobenius norms of all parameters together. `effective_rank_KIND` and `stable_rank_KIND` are
    means over the matrices of a kind, `effective_rank` and `stable_rank` over all but those of the embeddings and the head.
    `check` is called now and then and may raise. Raises InputError for a parameter that is not finite.
    """

    def measure(name: str) -> tuple[str, float, tuple[float, float] | None]:
        tensor, shape = weights.read(name), weights.shapes[name]
        if _BY_HEADS.search(name):
            tensor, shape = tensor.flatten(1), (shape[0], shape[1] * shape[2])
        is_matrix = len(shape) == 2 and min(shape) > 1 and kind_of(name) != "norm" and not name.endswith("bias")
        square = _product(tensor, tensor)
        if not isfinite(square):
            raise InputError(f"{weights.folder}: {name} holds numbers that are not finite")
        return kind_of(name), square, effective_and_stable_rank(tensor) if is_matrix else None

    squares: Counter[str] = Counter()
    ranks: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for kind, square, rank in _each(measure, list(weights.shapes), check):
        squares[kind] += square
        if rank is not None:
            ranks[kind].append(rank)
    metrics = {"norm": sqrt(squares.total())}
    metrics |= {f"norm_{kind}": sqrt(squares[kind]) for kind in KINDS if kind in squares}
    layers = [
        rank for kind, ranks_of_kind in ranks.items() if kind not in ("embedding", "head") for rank in ranks_of_kind
    ]
    for suffix, ranks_of_kind in (("", layers), *((f"_{kind}", ranks[kind]) for kind in KINDS)):
        for name, values in zip(("effective_rank", "stable_rank"), zip(*ranks_of_kind, strict=True), strict=False):
            metrics[f"{name}{suffix}"] = sum(values) / len(values)
    return metrics, sum(map(len, ranks.values()))


def compare(weights: Weights, other: Weights, check: Callable[[], None] = lambda: None) -> dict[str, float]:
    """How near a model is to `other`, all parameters as one vector, and by kind.

    `cosine`, `cosine_KIND`: cosine of the angle between the two. `change`, `change_KIND`: length of their difference as a share
    of the length of `other`. What would divide by zero is left out. Raises InputError when the parameters are not the same.
    """
    if weights.shapes != other.shapes:
        raise InputError(f"{weights.folder}: cannot be compared with {other.folder}: their parameters differ")

    def measure(name: str) -> tuple[str, tuple[float, ...]]:
        ours, theirs = weights.read(name), other.read(name)
        return kind_of(name), (_product(ours, ours), _product(theirs, theirs), _product(ours, theirs))

    sums: dict[str, list[float]] = defaultdict(lambda: [0.0] * 3)
    for kind, products in _each(measure, list(weights.shapes), check):
        for key in ("", f"_{kind}"):
            sums[key] = [total + product for total, product in zip(sums[key], products, strict=True)]
    metrics = {}
    for key in ("", *(f"_{kind}" for kind in KINDS)):
        ours, theirs, dot = sums[key]
        if ours > 0 and theirs > 0:
            metrics[f"cosine{key}"] = max(-1.0, min(1.0, dot / sqrt(ours) / sqrt(theirs)))
        if theirs > 0:
            # In float64 the difference of such sums is good to 1e-8 of the length, and exactly 0 for equal weights.
            metrics[f"change{key}"] = sqrt(max(0.0, ours + theirs - 2 * dot) / theirs)
    return metrics


def _product(one: torch.Tensor, other: torch.Tensor) -> float:
    """The sum of the products of their elements, in float64."""
    blocks = zip(one.flatten().split(_BLOCK), other.flatten().split(_BLOCK), strict=True)
    return sum(float(torch.dot(a.double(), b.double())) for a, b in blocks)


def _each(measure: Callable[[str], tuple], names: list[str], check: Callable[[], None]) -> Iterator[tuple]:
    """`measure` of every name in turn, on several threads with one core each: eigenvalues of one matrix hardly get faster with
    more, and on a busy machine several times slower. Beside a GPU that trains, the machine's cores are idle."""
    before = torch.get_num_threads()
    num_threads = min(_MAX_THREADS, len(os.sched_getaffinity(0))) if choose_device().type == "cuda" else before
    torch.set_num_threads(1)
    # Said to each thread too: a new one has as many as the process began with, and sums are rounded as they are divided.
    pool = ThreadPoolExecutor(num_threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        for result in pool.map(measure, names):
            check()
            yield result
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)
