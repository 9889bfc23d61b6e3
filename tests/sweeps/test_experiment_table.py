"""`lmeff sweep import`: the table of experiments of lm-efficiency-analysis, as its own code took it."""

from pathlib import Path

import pytest

from lmeff.cli.main import main
from lmeff.sweeps.cases import read_sweep

HEAD = "model_config,dataset,epochs,batch_size,grad_accum,seq_length,anchors,tokenizer_vocab_size,gpus_used"
TABLE = f"""{HEAD}
20m,tinystories,50,32,2,256,[-1],16000,1
60m,babylm3,40,64,2,256,"[25, 50, 100]",8000,2
180m,hybrid_3.7B,50,64,4,128,"[25, -1]",50257,2
60m,babylm,20,128,2,256,-1,32000,1
"""


@pytest.fixture
def table(folder: Path) -> Path:
    path = folder / "configs.csv"
    path.write_text(TABLE)
    return path


def test_a_table_becomes_what_was_trained(table: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["sweep", "import", "configs.csv", "-o", "study.yaml"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "ignored there: batch_size, grad_accum. Each size had its own number of sequences a step, 20m 64, 60m 256, 180m 512;"
        " another one is asked for in lines 3, 4",
        "ignored there: epochs, in line 3, whose anchors say how many steps there are",
        "ignored here: gpus_used, which changes nothing that is trained",
        "written: study.yaml with 5 cases x 3 seeds; lmeff plan study.yaml",
    ]
    sweep = read_sweep("study.yaml", ["seed=0"])
    shown = {}
    for case in sweep.cases:
        recipe = case.recipe
        million = tuple(tokens // 10**6 for tokens in recipe.anchors.tokens)
        shown[case.name] = (
            *(recipe.corpus.name, recipe.corpus.track, recipe.corpus.epochs, recipe.model.size),
            *(recipe.tokenizer.vocab_size, recipe.batch.sequence_length, recipe.batch.tokens),
            *(recipe.optimizer.learning_rate, recipe.optimizer.weight_decay, recipe.anchors.mode, million),
        )
    whole = (0, 25, 50, 75, 100, 250, 500, 750, 1000, 1250, 1500, 1750, 2000)
    # Tokens a step: 64 x 1 x 256, 128 x 2 x 256, 256 x 2 x 128.
    mixture = ("hybrid_3.7B", None, 50, "180m", 50257, 128, 65536, 3e-4, 0.01, "snapshot")
    assert list(shown.values()) == [
        ("tinystories", None, 50, "20m", 16000, 256, 16384, 5e-4, 0.005, "snapshot", whole),
        ("babylm3", "100M", 50, "60m", 8000, 256, 65536, 4e-4, 0.005, "restart", (25, 50, 100)),
        (*mixture, (25,)),
        (*mixture, whole),
        ("babylm", "100M", 20, "60m", 32000, 256, 65536, 4e-4, 0.005, "snapshot", whole),
    ]
    assert next(iter(shown)) == "tinystories-20m-tok16000"
    assert {case.recipe.schedule.warmup for case in sweep.cases} == {"300 steps"}
    assert main(["sweep", "import", "configs.csv", "-o", "study.yaml"]) == 2
    assert capsys.readouterr().err == "-o study.yaml: is there already; remove it, or name another file\n"


def test_mistakes_of_a_table_are_told_together(table: Path, capsys: pytest.CaptureFixture) -> None:
    rows = [
        "400m,tinystories,50,1,1,256,[25],16000,1",
        "20m,tinystory,50,1,1,256,[25],16000,1",
        "20m,tinystories,50,1,1,256,[25,50],16000,1",
        "20m,tinystories,50,1,1,256,many,16000,1",
        "20m,tinystories,50,x,1,256,[25],,1",
        "20m,tinystories,50,1,1,256,[25],16000,1",
        "20m,tinystories,50,2,1,256,[50],16000,1",
        "20m,tinystories,50,2,1,-5,[50],16000,1",
    ]
    table.write_text("\n".join([HEAD, *rows]))
    assert main(["sweep", "import", "configs.csv", "-o", "study.yaml"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "configs.csv:2: model_config: '400m' is none of 20m, 60m, 180m",
        "configs.csv:3: dataset: 'tinystory' is none of tinystories, babylm, babylm3, hybrid_3.7B; did you mean 'tinystories'?",
        'configs.csv:4: has more cells than the head; lists stand in quotes, as "[25, 50]"',
        "configs.csv:5: anchors: must be millions of tokens as JSON, such as [25, 50], or -1, not 'many'",
        "configs.csv:6: batch_size: must be a whole number above 0, not 'x'",
        "configs.csv:6: tokenizer_vocab_size: is empty",
        "configs.csv:8: is tinystories-20m-tok16000, as line 7 is; one would overwrite the other",
        "configs.csv:9: seq_length: must be a whole number above 0, not '-5'",
    ]
    assert not Path("study.yaml").exists()


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        (TABLE, ["-o", "s.yaml", "seed=0"], "lmeff sweep import: takes no keys; give seed=0 to lmeff sweep run s.yaml"),
        (TABLE, [], "lmeff sweep import: -o FILE: the sweep to write; lmeff sweep import configs.csv -o configs.yaml"),
        (HEAD, ["-o", "s.yaml"], "configs.csv: no row below its head"),
        ("", ["-o", "s.yaml"], "configs.csv:1: no column 'model_config'; it has none"),
        ("model,dataset,anchors,tokenizer_vocab_size", ["-o", "s.yaml"], "configs.csv:1: no column 'model_config'"),
    ],
)
def test_what_is_no_table_is_one_line(
    table: Path, capsys: pytest.CaptureFixture, text: str, words: list[str], said: str
) -> None:
    table.write_text(text)
    assert main(["sweep", "import", "configs.csv", *words]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(said)
