"""`<mask>` of revisions: an entry after all others, which ordinary text does not notice."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from lmeff.tokens.tokenizer.bpe import save_tokenizer, tokenizer_sha256, train_tokenizer
from lmeff.tokens.tokenizer.published import prepared_sha256, write_published_tokenizer

TEXTS = ["Anna had 3 cats.\n\tBen  lost one , and then", "naïve ﬁne <unk> [MASK] mask", "", " x", "<s> </s>"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    save_tokenizer(train_tokenizer(["Anna had cats. Ben had cats, too."] * 3, 270), folder)
    return folder


@pytest.mark.parametrize("add_bos", [False, True])
def test_ordinary_text_has_the_same_ids_with_and_without_it(prepared: Path, tmp_path: Path, add_bos: bool) -> None:
    plain, masked = tmp_path / "plain", tmp_path / "masked"
    for folder in (plain, masked):
        folder.mkdir()
        write_published_tokenizer(prepared, folder, add_bos, add_mask=folder == masked)
        assert prepared_sha256(folder) == tokenizer_sha256(prepared)
    without, with_it = (AutoTokenizer.from_pretrained(folder) for folder in (plain, masked))
    assert [with_it(text)["input_ids"] for text in TEXTS] == [without(text)["input_ids"] for text in TEXTS]
    assert (len(without), len(with_it), with_it.mask_token, with_it.mask_token_id) == (270, 271, "<mask>", 270)
    assert without.mask_token is None
    assert 270 in with_it.all_special_ids
    # It takes the space before it, as a word does.
    bos = [1] if add_bos else []
    had, cats = (without(text, add_special_tokens=False)["input_ids"] for text in ("Anna had", "cats"))
    assert with_it("Anna had <mask> cats")["input_ids"] == [*bos, *had, 270, *cats]
    assert with_it.decode([*had, 270], skip_special_tokens=True) == "Anna had"


def test_a_mask_that_is_no_last_entry_is_not_taken_for_ours(prepared: Path, tmp_path: Path) -> None:
    write_published_tokenizer(prepared, tmp_path, add_mask=True)
    path = tmp_path / "tokenizer.json"
    path.write_text(path.read_text().replace('"lstrip": true', '"lstrip": false'))
    assert prepared_sha256(tmp_path) == tokenizer_sha256(tmp_path) != tokenizer_sha256(prepared)
