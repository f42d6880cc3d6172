"""Options of the evaluation protocol."""

import argparse
import hashlib

import pytest

from metrics.protocol import DepthProtocol, Protocol, Region
from options.elite360m import eval_parser
from options.protocol import identity_of, protocol_of
from utils.errors import UserError


def options_of(line: str = "") -> argparse.Namespace:
    return eval_parser().parse_args(["--load_weights_dir", "x", *line.split()])


def test_defaults_are_the_released_protocol():
    assert protocol_of(options_of()) == Protocol()
    assert identity_of(options_of()) == {"protocol": None, "--mask sha256": None}


def test_several_protocols():
    protocol = protocol_of(options_of("--align none median scale --protocol unifuse pager --max_depth 20 --pool pixel"))
    assert [one.name for one in protocol.depth] == [
        *("", "median", "scale", "unifuse", "pager", "pager_scale", "pager_scale_shift")
    ]
    assert protocol.region == Region(max_depth=20)
    assert protocol.pool_pixels
    assert protocol.depth[0] == DepthProtocol()


def test_identity_contains_the_options():
    assert identity_of(options_of("--pole_crop 20 --align median"))["protocol"] == "--align median --pole_crop 20.0"


def test_masks_are_identified_by_their_content(tmp_path):
    (tmp_path / "mask.png").write_bytes(b"abc")
    options = options_of(f"--mask {tmp_path}/mask.png")
    digest = hashlib.sha256(b"abc").hexdigest()
    assert identity_of(options) == {"protocol": None, "--mask sha256": digest}
    assert protocol_of(options) == Protocol(mask=digest)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("--min_depth 5 --max_depth 5", "--min_depth 5"),
        ("--pole_crop 90", "--pole_crop 90"),
        ("--trivial --max_depth 20", "--trivial"),
        ("--trivial --clamp_depth none", "--clamp_depth"),
        ("--trivial --at_truth_size", "--at_truth_size"),
        ("--more_metrics consistency --task depth", "--more_metrics consistency"),
        ("--more_metrics points --task normal", "--more_metrics points"),
        ("--more_metrics cube_seams normal_mse --task depth", "--more_metrics normal_mse"),
        ("--turn 0 nan 0", "--turn"),
        ("--zoom 2", "--zoom"),
        ("--mask nowhere.png", "--mask"),
    ],
)
def test_contradicting_options(line, named):
    with pytest.raises(UserError) as info:
        protocol_of(options_of(line))
    assert named in str(info.value)
    assert "\n" not in str(info.value)
