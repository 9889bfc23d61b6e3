"""The tables of tasks: BLiMP's paradigms and phenomena, and the task files written from them."""

import json
import subprocess
import sys

import pytest

from lmeff.evaluation.tasks.blimp import PARADIGMS, PHENOMENA
from lmeff.evaluation.tasks.checks import own_leaves
from lmeff.evaluation.tasks.names import own_task_names, tasks_folder
from lmeff.evaluation.tasks.write import task_files


def test_blimp_has_67_paradigms_in_12_phenomena():
    counts = {phenomenon: len(paradigms) for phenomenon, paradigms in PHENOMENA.items()}
    assert counts == {
        "anaphor_agreement": 2,
        "argument_structure": 9,
        "binding": 7,
        "control_raising": 5,
        "determiner_noun_agreement": 8,
        "ellipsis": 2,
        "filler_gap": 7,
        "irregular_forms": 2,
        "island_effects": 8,
        "npi_licensing": 7,
        "quantifiers": 4,
        "subject_verb_agreement": 6,
    }
    assert len(set(PARADIGMS)) == 67


def test_paradigms_are_the_published_files_and_phenomena_their_terms(shared_data):
    published = {path.stem: path for path in (shared_data / "blimp").glob("*.jsonl")}
    assert set(published) == set(PARADIGMS)
    terms = {"s-selection": "argument_structure", "filler_gap_dependency": "filler_gap"}
    for phenomenon, paradigms in PHENOMENA.items():
        for uid in paradigms:
            first = json.loads(published[uid].read_text().splitlines()[0])
            assert terms.get(first["linguistics_term"], first["linguistics_term"]) == phenomenon


def test_task_files_are_what_write_tasks_writes():
    folder = tasks_folder()
    on_disk = {path.relative_to(folder).as_posix(): path.read_text() for path in folder.glob("*/*.yaml")}
    assert on_disk == task_files()


def test_names_of_tasks():
    names = own_task_names()
    assert len(names) == len(set(names))
    assert names[:10] == [
        "lmeff_blimp",
        "lmeff_blimp_filtered",
        "lmeff_comps",
        "lmeff_entity_tracking",
        "lmeff_ewok",
        "lmeff_ewok_context",
        "lmeff_pairs",
        "lmeff_smallbench",
        "lmeff_supplement",
        "lmeff_synthetic",
    ]
    assert all(name == name.lower() for name in names)
    assert {f"lmeff_blimp_{phenomenon}" for phenomenon in PHENOMENA} < set(names)
    assert "lmeff_blimp_principle_a_c_command" in names


def test_a_group_stands_for_its_paradigms_once():
    assert [leaf.uid for leaf in own_leaves(["lmeff_blimp"], {})] == list(PARADIGMS)
    leaves = own_leaves(["lmeff_blimp_ellipsis", "lmeff_blimp", "lmeff_blimp_causative", "hellaswag"], {})
    assert len(leaves) == 67
    assert leaves[0].name == "lmeff_blimp_ellipsis_n_bar_1"


@pytest.mark.medium
def test_the_tables_need_neither_torch_nor_lm_eval(clean_environment):
    code = (
        "import sys; from lmeff.evaluation.tasks.checks import own_task_names, own_leaves;"
        " own_leaves(own_task_names()[:1], {});"
        "assert not {'torch', 'lm_eval', 'transformers', 'datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=clean_environment)
