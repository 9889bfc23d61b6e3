"""What is kept of teachers: what it says beside what they say themselves, and that it is written once, whole and verified."""

import math
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from methods.distillation.small import recipe_of, save_teacher, small_tokens, write_small

from lmeff.errors import InputError
from lmeff.methods.distillation import cache as module
from lmeff.methods.distillation.asked import AskedTeachers
from lmeff.methods.distillation.cache import KeptTeachers, TeacherCache, tensors_of
from lmeff.methods.distillation.sources import sources_of
from lmeff.methods.distillation.teacher_pass import TeacherPass, sample, stratified
from lmeff.methods.distillation.terms import SampledTerm, TopKTerm, WholeTerm, teacher_log_probabilities
from lmeff.objectives import objective_of
from lmeff.recipe.schema import Recipe
from lmeff.runs.signals import Interrupted
from lmeff.training.data.sequences import MicroBatch, TrainSequences

pytestmark = pytest.mark.medium


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_small(tmp_path_factory.mktemp("cache"))
    save_teacher(path.with_name("one"), path, "seed=2")
    save_teacher(path.with_name("two"), path, "seed=3", "model.hidden_size=8")
    return path


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHARD_POSITIONS", 32 * 60)


def taught(path: Path, *words: str) -> Recipe:
    teachers = f"distillation.teachers=[{path.with_name('one')}, {path.with_name('two')}]"
    return recipe_of(path, teachers, "distillation.cache.kind=top_k", *words)


def never() -> None:
    """Nobody asks to stop."""


class Kept:
    """A recipe's cache in a folder of its own."""

    def __init__(self, path: Path, recipe: Recipe, folder: Path, length: int = 32) -> None:
        self.recipe, self.tokens = recipe, small_tokens(path)
        sources = sources_of(recipe)
        self.teachers = AskedTeachers(recipe, sources)
        cache = TeacherCache.of(recipe, self.tokens, sources, length, "float32")
        self.cache = TeacherCache(**vars(cache) | {"folder": folder})

    def fill(self, rank: int = 0, world_size: int = 1, check: Any = never) -> None:
        device = torch.device("cpu")
        TeacherPass(self.recipe, self.tokens, self.teachers, self.cache, device, check).fill(rank, world_size)

    def verify(self, rank: int = 0, world_size: int = 1, check: Any = never, launch: str = "launch") -> None:
        device = torch.device("cpu")
        TeacherPass(self.recipe, self.tokens, self.teachers, self.cache, device, check).verify(rank, world_size, launch)

    def both(self, ids: list[int], step: int = 0) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """What the teachers say of these sequences, and what was kept of it."""
        text = TrainSequences(self.tokens, self.recipe.batch, objective_of(self.recipe, self.tokens))
        micro_batch = MicroBatch(ids, self.cache.length, step, 0)
        inputs = {
            name: one for name, one in text.__getitems__(micro_batch).items() if name not in ("targets", "micro_batch")
        }
        kept = KeptTeachers({self.cache.length: self.cache}, 32, str(self.recipe.distillation.cache.kind))
        return self.teachers.for_inputs(inputs), kept.for_pieces(text.pieces(micro_batch))


def bytes_of(cache: TeacherCache) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in cache.folder.iterdir()}


STUDENT = torch.Generator().manual_seed(9)


@pytest.mark.parametrize("average", ["logits", "probabilities"])
@pytest.mark.parametrize("words", [(), ("batch.document_mask=true", "batch.packing=best_fit")])
def test_all_entries_say_what_the_teachers_say(
    path: Path, tmp_path: Path, average: str, words: tuple[str, ...]
) -> None:
    """And fewer of them what is written out in float64 over them and one outcome more."""
    settings = (f"distillation.average={average}", *words)
    whole = Kept(path, taught(path, "distillation.cache.k=1000", *settings), tmp_path / "whole")
    few = Kept(path, taught(path, "distillation.cache.k=7", *settings), tmp_path / "few")
    assert whole.cache.record["ids"].shape == (320,)
    logits = (3 * torch.randn(4, 32, 320, generator=STUDENT)).requires_grad_()
    log_q = logits.log_softmax(-1)
    ids = [5, 0, 100, 61]
    for kept in (whole, few):
        kept.fill()
        kept.verify()
        said, ours = kept.both(ids)
        distance = TopKTerm().distance(log_q, ours)
        if kept is whole:
            exact = WholeTerm(2.0, kept.recipe.distillation.average).distance(log_q, said)
            assert (distance - exact).abs().max() < 2e-3 * exact.max()
            assert abs((distance / exact - 1).mean()) < 2e-4
            gradient, asked = (
                torch.autograd.grad(one.sum(), logits, retain_graph=True)[0] for one in (distance, exact)
            )
            assert (gradient - asked).abs().max() < 1e-4 * asked.abs().max()
    log_p = teacher_log_probabilities(list(said.values()), 2.0, few.recipe.distillation.average, 320).double().exp()
    for row, place in ((0, 3), (2, 31), (3, 0)):
        p, q = log_p[row, place], log_q[row, place].detach().double().exp()
        best = ours["ids"][row, place].long()  # of two that are as likely either will do
        assert p[best].sum().item() == pytest.approx(p.sort(descending=True).values[:7].sum().item(), abs=1e-5)
        tail_p, tail_q = 1 - p[best].sum(), 1 - q[best].sum()
        literal = sum(p[one] * math.log(p[one] / q[one]) for one in best) + tail_p * math.log(tail_p / tail_q)
        assert distance[row, place].item() == pytest.approx(literal.item(), rel=2e-3)
        assert tail_p > 0.05, "so that renormalizing would be another number"


def test_a_sample_says_it_on_average(path: Path, tmp_path: Path) -> None:
    log_p = torch.randn(2, 3, 11, generator=STUDENT).log_softmax(-1)
    log_q = torch.randn(2, 3, 11, generator=STUDENT).log_softmax(-1).requires_grad_()
    drawn = sample(log_p, stratified([4, 9], 3, 4000))
    shares = torch.nn.functional.one_hot(drawn, 11).double().mean(2)
    # One number from each of 4,000 equal parts: an outcome may gain or lose no more than one at each of its ends.
    assert (shares - log_p.double().exp()).abs().max() <= 2 / 4000
    said = {"ids": drawn.int(), "values": log_p.gather(-1, drawn).half().view(torch.int16)}
    distance = SampledTerm().distance(log_q, said)
    exact = (log_p.exp() * (log_p - log_q)).sum(-1)
    assert torch.allclose(distance, exact, atol=5e-3)
    ours, theirs = (torch.autograd.grad(one.sum(), log_q, retain_graph=True)[0] for one in (distance, exact))
    assert (ours - theirs).abs().max() <= 2 / 4000 + 1e-6
    numbers = stratified([4, 9], 3, 4)
    assert np.array_equal(numbers[1], stratified([9], 3, 4)[0]), "keyed by its row alone"
    assert len(np.unique(numbers % 0.25)) == numbers.size, "and by position"
    kept = Kept(path, taught(path, "distillation.cache={kind: sampled, k: 400}"), tmp_path / "sampled")
    kept.fill()
    said, ours_kept = kept.both([3, 70])
    student = torch.randn(2, 32, 320, generator=STUDENT).log_softmax(-1)
    exact = WholeTerm(2.0, "logits").distance(student, said)
    assert abs(SampledTerm().distance(student, ours_kept).mean() / exact.mean() - 1) < 0.02


def test_processes_and_a_kill_change_nothing(path: Path, tmp_path: Path) -> None:
    recipe = taught(path, "distillation.cache.k=5")
    alone, together, killed = (Kept(path, recipe, tmp_path / name) for name in ("alone", "together", "killed"))
    alone.fill()
    assert alone.cache.num_shards > 3
    together.teachers.models(torch.device("cpu"))  # transformers cannot load two models at once in two threads
    threads = [threading.Thread(target=together.fill, args=(rank, 2)) for rank in (1, 0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert bytes_of(together.cache) == bytes_of(alone.cache)
    calls = iter(range(2))

    def stop_soon() -> None:
        if next(calls, None) is None:
            raise Interrupted

    with pytest.raises(Interrupted):
        killed.fill(check=stop_soon)
    assert 0 < len(killed.cache.missing()) < alone.cache.num_shards
    assert not killed.cache.is_whole()
    first = killed.cache.shard(0).stat().st_mtime_ns
    killed.fill()
    assert killed.cache.shard(0).stat().st_mtime_ns == first, "it is not done again"
    assert bytes_of(killed.cache) == bytes_of(alone.cache)


def test_runs_that_fill_a_cache_share_the_work(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They begin together and are equally fast: each shard takes some milliseconds."""
    monkeypatch.setattr(module, "SHARD_POSITIONS", 32 * 2)
    recipe, computed = taught(path, "distillation.cache.k=5"), list[int]()
    alone = Kept(path, recipe, tmp_path / "alone")
    alone.fill()
    num_shards = alone.cache.num_shards
    assert num_shards > 90

    def compute_slowly(work: TeacherPass, number: int, count: Any) -> np.ndarray:
        computed.append(number)
        time.sleep(0.005)
        rows = alone.cache.rows_of(number)
        return alone.cache.read(np.arange(rows.start, rows.stop))

    monkeypatch.setattr(TeacherPass, "_shard", compute_slowly)
    for num_runs in (2, 5):
        shared = Kept(path, recipe, tmp_path / f"shared by {num_runs}")
        threads = [threading.Thread(target=shared.fill) for _ in range(num_runs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(set(computed)) == list(range(num_shards))
        assert len(computed) < 1.4 * num_shards
        assert bytes_of(shared.cache) == bytes_of(alone.cache)
        computed.clear()


def test_a_shard_that_is_there_stays(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs have looked for it before either wrote it, on devices whose bits differ; one of them is sealing the cache."""
    kept = Kept(path, taught(path, "distillation.cache.k=5"), tmp_path / "kept")
    shard, link = kept.cache.shard(0), os.link

    def be_slower(aside: Path, target: Path) -> None:
        if not target.exists():
            target.write_bytes(b"of another run")
        link(aside, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "link", be_slower)
        records = np.zeros((len(kept.cache.rows_of(0)), 32), kept.cache.record)
        assert not kept.cache.write_shard(0, records)
    assert shard.read_bytes() == b"of another run"
    assert list(kept.cache.folder.iterdir()) == [shard], "nothing is left aside"
    shard.unlink()
    kept.fill()
    (kept.cache.folder / "manifest.json").unlink()
    # What another run writes meanwhile: to look into it fails, as where it is renamed first.
    (kept.cache.folder / ".00001.bin.0123abcd.tmp").symlink_to("/proc/self/mem")
    kept.cache.seal()
    kept.verify()


def test_what_killed_writers_left_is_removed_when_all_is_there(path: Path, tmp_path: Path) -> None:
    """When a cache is sealed, and again whenever it is verified."""
    kept = Kept(path, taught(path, "distillation.cache.k=5"), tmp_path / "cache")
    cache = kept.cache

    def begin_a_shard_and_be_killed() -> None:
        process = os.fork()
        if not process:
            os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
            cache.write_shard(0, np.zeros((len(cache.rows_of(0)), cache.length), cache.record))
        os.waitpid(process, 0)

    for ask in (kept.fill, kept.verify):
        begin_a_shard_and_be_killed()
        assert [file.suffix for file in cache.folder.glob(".*")] == [".tmp"]
        ask()
        assert sorted(bytes_of(cache)) == [*(f"{number:05}.bin" for number in range(cache.num_shards)), "manifest.json"]


def test_pieces_of_shorter_sequences_are_kept_by_themselves(path: Path, tmp_path: Path) -> None:
    lengths = ("batch.sequence_lengths={0: 16, 512: 32}", "distillation.cache.k=320")
    kept = Kept(path, taught(path, *lengths), tmp_path / "short", length=16)
    kept.fill()
    said, ours = kept.both([7, 2])
    log_q = torch.randn(4, 16, 320, generator=STUDENT).log_softmax(-1)
    exact = WholeTerm(2.0, "logits").distance(log_q, said)
    assert torch.allclose(TopKTerm().distance(log_q, ours), exact, rtol=2e-2, atol=2e-3)


def test_a_damaged_file_is_one_line(path: Path, tmp_path: Path) -> None:
    kept = Kept(path, taught(path, "distillation.cache.k=5"), tmp_path / "damaged")
    kept.fill()
    kept.verify()
    shard = kept.cache.shard(1)
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    with pytest.raises(InputError, match=rf"^{shard}: is not what was written there; remove {kept.cache.folder}, and"):
        kept.verify()
    shard.unlink()
    with pytest.raises(InputError, match=rf"^{shard}: is not what was written"):
        kept.verify()


def test_processes_share_what_is_verified_and_wait_on_disk(path: Path, tmp_path: Path) -> None:
    """Without a collective: whoever is done first looks for the others' files, and can be stopped meanwhile."""
    kept = Kept(path, taught(path, "distillation.cache.k=5"), tmp_path / "shared")
    kept.fill()
    shard = kept.cache.shard(1)
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    read, ended = list[str](), dict[int, str]()

    def verify(rank: int) -> None:
        try:
            kept.verify(rank, 2)
        except InputError as error:
            ended[rank] = str(error)

    asked = iter(range(kept.cache.num_shards))

    def stop_when_it_waits() -> None:
        read.append("asked")
        if next(asked, None) is None:
            raise Interrupted

    with pytest.raises(Interrupted):
        kept.verify(0, 2, stop_when_it_waits, "stopped")
    assert len(read) == kept.cache.num_shards + 1
    threads = [threading.Thread(target=verify, args=(rank,)) for rank in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert ended[0] == ended[1]
    assert ended[0].startswith(f"{shard}: is not what was written there"), "which only one of them has read"


def test_a_text_of_many_shards_takes_no_file_descriptors(path: Path, tmp_path: Path) -> None:
    kept = Kept(path, taught(path, "distillation.cache.k=5"), tmp_path / "many")
    kept.fill()
    before = len(list(Path("/proc/self/fd").iterdir()))
    rows = np.arange(0, kept.cache.num_rows, 7)
    records = kept.cache.read(rows)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert kept.cache.num_shards > 3
    written = [np.fromfile(kept.cache.shard(number), kept.cache.record) for number in range(kept.cache.num_shards)]
    assert np.array_equal(records, np.concatenate(written).reshape(-1, 32)[rows])


def test_whatever_it_depends_on_gives_it_another_place(path: Path) -> None:
    def place(*words: str, length: int = 32, precision: str = "float32") -> Path:
        recipe = taught(path, *words)
        return TeacherCache.of(recipe, small_tokens(path), sources_of(recipe), length, precision).folder

    others = [
        place(word)
        for word in (
            f"distillation.teachers=[{path.with_name('one')}]",
            f"distillation.teachers=[{path.with_name('two')}, {path.with_name('one')}]",
            "distillation.temperature=1",
            "distillation.average=probabilities",
            "distillation.cache.kind=sampled",
            "distillation.cache.k=8",
            "batch.document_mask=true",
            "batch.packing=best_fit",
            "batch.sequence_length=16",
        )
    ]
    others += [place(length=16), place(precision="torch.bfloat16"), place()]
    assert len(set(others)) == len(others)
    same = ["distillation.alpha=0.1", "distillation.reduction=batchmean", "seed=5", "optimizer.learning_rate=1"]
    assert {place(word) for word in [*same, "batch.tokens=512"]} == {place()}


def test_records_keep_their_bits() -> None:
    record = np.dtype([("ids", "<u2", (2,)), ("values", "<f2", (2,)), ("log_sum_exp", "<f4")])
    records = np.zeros((1, 3), record)
    records["ids"], records["values"], records["log_sum_exp"] = 65535, -1.2345, 3.14159
    said = tensors_of(records)
    assert {name: one.dtype for name, one in said.items()} == {
        "ids": torch.int32,
        "values": torch.int16,
        "log_sum_exp": torch.int32,
    }
    assert said["ids"].max() == 65535
    assert said["values"].view(torch.float16)[0, 0, 0].item() == np.float16(-1.2345)
    assert said["log_sum_exp"].view(torch.float32)[0, 0].item() == np.float32(3.14159)
