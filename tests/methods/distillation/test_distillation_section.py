"""What a recipe may say of distillation, what is told of what it must not, and where it shows."""

from pathlib import Path

import pytest
import yaml
from hub_server import File, HubServer, Repository
from hub_user import lmeff, python
from methods.distillation.small import save_teacher, write_small
from models.tiny_recipe import recipe
from revisions.facts import FACTS

from lmeff.errors import InputError
from lmeff.formats.anchor import AnchorDocument
from lmeff.hub.names import hub_names
from lmeff.plan import make_plan
from lmeff.plan.text import format_plan
from lmeff.recipe import read_recipe
from lmeff.recipe.changes import changes_since
from lmeff.recipe.sections.distillation import Distillation, TeacherCache
from lmeff.recipe.sections.fields import OnResume
from lmeff.recipe.sections.schedule import Schedule
from lmeff.revisions.card import model_card

TAUGHT = "distillation.teachers=[a/model, b/model]"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small(tmp_path_factory.mktemp("section"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("distillation.alpha=0.3",), "without teachers there is nothing to distill; name them in distillation.teachers"),
        ((TAUGHT, "distillation.alpha=1.5"), "must be at most 1, not 1.5"),
        ((TAUGHT, "distillation.temperature=0"), "must be above 0, not 0"),
        ((TAUGHT, "distillation.average=logit"), "must be 'logits' or 'probabilities', not 'logit'; did you mean 'logits'?"),
        ((TAUGHT, "distillation.reduction=sum"), "must be 'token' or 'batchmean', not 'sum'"),
        ((TAUGHT, "distillation.cache.k=8"), "what is kept has no kind; set distillation.cache.kind to 'top_k' or 'sampled'"),
        ((TAUGHT, "distillation.cache={kind: top_k, k: 0}"), "must be above 0, not 0"),
        (
            (TAUGHT, "distillation.cache.kind=top_k", "objective.name=hybrid"),
            "the objective 'hybrid' gives teachers other inputs in every step, so nothing can be kept; leave it out",
        ),
        (("distillation.teachers=[me/it@main]",), "may be another model tomorrow; name a commit of 40 digits (0-9, a-f)"),
        (("distillation.teachers=[a, a]",), "names a teacher twice"),
        (("distillation.teacher=[a]",), "unknown key; did you mean 'distillation.teachers'?"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(path: Path, words: tuple[str, ...], told: str) -> None:
    with pytest.raises(InputError) as error:
        read_recipe(path, words)
    (line,) = error.value.mistakes
    assert line.startswith("command line: distillation")
    assert line.endswith(told)


def test_a_recipe_is_written_as_it_is_read(path: Path, tmp_path: Path) -> None:
    assert "distillation" not in read_recipe(path).to_yaml()
    for words in ((TAUGHT,), (TAUGHT, "distillation.cache={kind: sampled, k: 9}"), (TAUGHT, "distillation.alpha=1")):
        resolved = read_recipe(path, words)
        (tmp_path / "again.yaml").write_text(resolved.to_yaml())
        assert read_recipe(tmp_path / "again.yaml").recipe == resolved.recipe


def test_a_run_goes_on_with_its_teachers_alone(path: Path) -> None:
    def changes(before: tuple[str, ...], *after: str) -> list[tuple[str, OnResume, bool]]:
        kept = yaml.safe_load(read_recipe(path, before).to_yaml())
        found = changes_since(kept, read_recipe(path, after))
        return [(change.key, change.on_resume, change.is_moved_text) for change in found]

    assert changes((), TAUGHT) == [("distillation.teachers", OnResume.FIXED, False)]
    assert changes((TAUGHT,), TAUGHT) == []
    moved = "distillation.teachers=[elsewhere/model, there/model]"
    assert changes((TAUGHT,), moved) == [("distillation.teachers", OnResume.FIXED, True)]
    assert changes((TAUGHT,), TAUGHT, "distillation.alpha=0.1") == [("distillation.alpha", OnResume.ACCEPTED, False)]


def test_names_cards_and_plans_say_it() -> None:
    distillation = Distillation(teachers=["a/model"], alpha=0.25, cache=TeacherCache(kind="top_k", k=8))
    plain = recipe(8192, size="20m").model_copy(update={"schedule": Schedule(warmup=0)})
    taught = plain.model_copy(update={"distillation": distillation})
    plan = make_plan(plain)
    repository = hub_names(taught, plan, "me").repository
    assert repository == f"{hub_names(plain, plan, 'me').repository}-distillation-alpha0.25-top_k8"
    without = taught.model_copy(update={"distillation": distillation.model_copy(update={"alpha": 1.0})})
    assert hub_names(without, plan, "me").repository == hub_names(plain, plan, "me").repository
    anchor = AnchorDocument(
        **FACTS, nominal_tokens=1000, exact_tokens=1024, weights_sha256="0" * 64, same_as=None, flops_teachers=3e15
    )
    card, other = (model_card(one, plan, anchor, "seed-0-tokens-1k") for one in (taught, plain))
    assert "| teachers | `a/model`; alpha 0.25, temperature 2, average of logits, reduction token, 8 of top_k |" in card
    assert "| FLOPs of the teachers so far | 3P |" in card
    assert "distillation" in yaml.safe_load(card.split("---\n")[1])["tags"]
    assert "| teachers |" not in other
    document = plan.model_copy(update={"flops_teachers": 2 * plan.total_flops, "teacher_cache_bytes": 5_000_000})
    lines = format_plan(document, notes=("something else",)).splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("teachers "))
    assert lines[begin].endswith("FLOPs, 2 times those of training")
    assert lines[begin + 1].startswith("cache      5 MB of what the teachers say")
    assert lines[begin + 2].strip() == "something else"


@pytest.mark.slow
def test_a_teacher_of_the_hub_is_a_commit(hub: HubServer, path: Path) -> None:
    folder = save_teacher(path.with_name("remote"), path)
    files = {one.name: File(one.read_bytes(), one.suffix == ".safetensors") for one in folder.iterdir()}
    repository = Repository("tester/teacher", private=False)
    commit = repository.add("main", None, files, "Upload model").oid
    hub.repositories[repository.name] = repository
    answer = lmeff("plan", str(path), f"distillation.teachers=[tester/teacher@{commit}]")
    assert answer.returncode == 0, answer.stderr
    assert "teachers " in answer.stdout
    assert "FLOPs, 0.333 times those of training" in answer.stdout
    wrong = lmeff("train", str(path), f"distillation.teachers=[tester/teacher@{commit[::-1]}]")
    assert wrong.returncode in (1, 2)
    assert len(wrong.stderr.splitlines()) == 1
    assert commit[::-1] in wrong.stderr


@pytest.mark.slow
def test_of_a_branch_the_message_says_which_commit_it_is(hub: HubServer, path: Path) -> None:
    """As the Hub says, or as the cache has it; without either it asks for a commit."""
    repository = Repository("tester/teacher", private=False)
    commit = repository.add("100M", None, {"config.json": File(b"{}", False)}, "Upload model").oid
    hub.repositories[repository.name] = repository
    named = "distillation.teachers=[tester/teacher@100M]"
    asks = "distillation.teachers.0: '100M' may be another model tomorrow; name a commit of 40 digits (0-9, a-f)"
    today = lmeff("plan", str(path), named)
    assert (today.returncode, today.stdout) == (2, "")
    assert today.stderr.endswith(f"{asks}; today it is tester/teacher@{commit}\n")
    python("import huggingface_hub as hub; hub.hf_hub_download('tester/teacher', 'config.json', revision='100M')")
    hub.repositories.clear()
    fetched = lmeff("plan", str(path), named)
    assert fetched.stderr.endswith(f"{asks}; when it was last fetched it was tester/teacher@{commit}\n")
    unknown = lmeff("plan", str(path), named.replace("teacher@", "other@"))
    impossible = lmeff("plan", str(path), named.replace("teacher@", "my--teacher@"))
    for answer in (unknown, impossible):
        assert answer.stderr.endswith(f"{asks}\n")
    assert [len(answer.stderr.splitlines()) for answer in (today, fetched, unknown, impossible)] == [1, 1, 1, 1]
