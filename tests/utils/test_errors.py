"""What a user meets when something is wrong."""

import pytest
import torch

from utils.errors import UserError, exit_on_user_error


def test_user_error_is_one_line(capsys):
    with pytest.raises(SystemExit) as exit_info, exit_on_user_error():
        raise UserError("--input x does not exist")
    assert exit_info.value.code == 2
    assert capsys.readouterr().err == "error: --input x does not exist\n"


def test_unusable_file_is_one_line(tmp_path, capsys):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as exit_info, exit_on_user_error():
        (tmp_path / "file" / "run").mkdir()
    assert exit_info.value.code == 2
    assert capsys.readouterr().err == f"error: {tmp_path / 'file' / 'run'}: Not a directory\n"


class BadSamples(torch.utils.data.Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise UserError("room.png is damaged")


def test_error_in_a_worker_is_one_line(capsys):
    with pytest.raises(SystemExit) as exit_info, exit_on_user_error():
        list(torch.utils.data.DataLoader(BadSamples(), num_workers=1))
    assert exit_info.value.code == 2
    assert capsys.readouterr().err == "error: room.png is damaged\n"


@pytest.mark.parametrize("defect", [ValueError("a defect"), OSError("no file involved")])
def test_defects_keep_their_traceback(defect):
    with pytest.raises(type(defect), match=str(defect)), exit_on_user_error():
        raise defect
