"""Files of a run."""

import json

from utils.run_folder import write_json


def test_any_name_of_a_file_is_kept(tmp_path):
    """Also one that is no UTF-8, which Python shows with lone surrogates."""
    names = {"path": "bad\udcff.png", "other": "部屋 ä"}
    write_json(tmp_path / "names.json", names)
    assert json.loads((tmp_path / "names.json").read_text(encoding="utf-8")) == names
    assert "部屋 ä" in (tmp_path / "names.json").read_text(encoding="utf-8")
