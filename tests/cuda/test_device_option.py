"""Every script honors --device."""

from pathlib import Path

import pytest

import demo_elite360m
import eval_elite360m
import predict_elite360m
import train_elite360m
from options.elite360m import eval_parser, train_parser
from options.panorama_prediction import demo_parser, predict_parser
from utils.errors import UserError

ROOM = Path(__file__).parents[2] / "docs" / "example_room.png"
PROGRAMS = [
    (train_elite360m, train_parser, ["--dataset", "Synthetic"]),
    (eval_elite360m, eval_parser, ["--load_weights_dir", "nothing"]),
    (predict_elite360m, predict_parser, ["--checkpoint", "nothing", "--input", str(ROOM), "--out", "nothing"]),
    (demo_elite360m, demo_parser, ["--checkpoint", "nothing"]),
]


@pytest.mark.parametrize(("program", "parser", "arguments"), PROGRAMS, ids=[row[0].__name__ for row in PROGRAMS])
def test_missing_gpu(program, parser, arguments, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("demo_elite360m.check_gradio", lambda: None)
    monkeypatch.setattr("demo_elite360m.check_port", lambda port: None)
    with pytest.raises(UserError, match="--device cuda"):
        program.main(parser().parse_args([*arguments, "--device", "cuda"]))
    assert not list(tmp_path.iterdir())
