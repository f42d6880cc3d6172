"""Reading the category mapping."""

import pytest

from datasets.preparation.matterport_tree import read_mapping
from utils.errors import UserError


@pytest.mark.parametrize("content", [None, b"PK\x03\x04\x92\xff"], ids=["missing", "binary"])
def test_unusable_category_mapping(tmp_path, content):
    path = tmp_path / "category_mapping.tsv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"category_mapping\.tsv"):
        read_mapping(path)
