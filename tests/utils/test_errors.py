"""User errors and interrupts end scripts with one line."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from utils.errors import LONGEST_LINE, UserError, exit_on_user_error, interrupts_deferred


def test_user_error_is_one_line(capsys):
    with pytest.raises(SystemExit) as exit_info, exit_on_user_error():
        raise UserError("--input x does not exist")
    assert exit_info.value.code == 2
    assert capsys.readouterr().err == "error: --input x does not exist\n"


def test_os_error_is_one_line(tmp_path, capsys):
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


def test_error_in_worker_is_one_line(capsys):
    with pytest.raises(SystemExit) as exit_info, exit_on_user_error():
        list(torch.utils.data.DataLoader(BadSamples(), num_workers=1))
    assert exit_info.value.code == 2
    assert capsys.readouterr().err == "error: room.png is damaged\n"


@pytest.mark.parametrize("error", [ValueError("a defect"), OSError("no file involved")])
def test_other_errors_keep_their_traceback(error):
    with pytest.raises(type(error), match=str(error)), exit_on_user_error():
        raise error


def test_long_lines_are_cut_in_the_middle(capsys):
    """Names may have any length; the beginning of a line states the problem, its end the remedy."""
    with pytest.raises(SystemExit), exit_on_user_error():
        raise UserError(f"--input {'x' * 2000} does not exist: pass another one")
    line = capsys.readouterr().err
    assert line.startswith("error: --input xxx")
    assert line.endswith("x does not exist: pass another one\n")
    assert len(line.strip()) == LONGEST_LINE


def test_ctrl_c_is_one_line():
    program = (
        "import os, signal\nfrom utils.errors import exit_on_user_error\n"
        "with exit_on_user_error():\n    os.kill(os.getpid(), signal.SIGINT)\n    input()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert done.returncode == 128 + signal.SIGINT == 130
    assert done.stderr.split() == ["interrupted"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupts_deferred(number):
    before = signal.signal(number, signal.default_int_handler)
    steps = []

    def work():
        with interrupts_deferred():
            signal.raise_signal(number)
            steps.append("after")

    try:
        with pytest.raises(KeyboardInterrupt):
            work()
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)
    assert steps == ["after"]


def test_other_threads_do_not_defer():
    thread = threading.Thread(target=lambda: interrupts_deferred().__enter__())
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
