"""First program: command lines of prediction, demo and export. Nothing here imports torch."""

import argparse

from networks.backbones import DEFAULT
from options.elite360m import add_tta_option
from options.groups import add_device_options, add_prediction_options
from options.parser import Parser, angle, port, positive

EXPORT_FORMATS = ("onnx", "torch-export")

_LARGEST_MAP = 16384  # rows, as of the largest panorama that can be read


def predict_parser() -> argparse.ArgumentParser:
    """Options of predict_elite360m.py."""
    parser = Parser("Predict depth, surface normals and semantics of panoramas.")
    _add_checkpoint_option(parser)
    add_prediction_options(parser, with_detection=False)
    parser.add_argument(
        "--height",
        type=map_height,
        metavar="PIXELS",
        help="height of the maps, which are twice as wide; own: the height of the image; default: the training size of "
        "the network",
    )
    add_tta_option(parser)
    parser.add_argument("--every", type=positive, default=1, metavar="N", help="predict every N-th frame of videos")
    parser.add_argument(
        "--video", action="store_true", help="also join the panels of a video's frames into NAME_panel.mp4"
    )
    _add_sphere_options(parser)
    return parser


def demo_parser() -> argparse.ArgumentParser:
    """Options of demo_elite360m.py."""
    parser = Parser("Try a checkpoint on a web page that only this machine can open.")
    _add_checkpoint_option(parser)
    parser.add_argument("--port", type=port, default=7860, metavar="N", help="port of 127.0.0.1 to serve the page on")
    add_device_options(parser, one_process=True)
    return parser


def export_parser() -> argparse.ArgumentParser:
    """Options of tools/export.py."""
    parser = Parser(
        "Export a network as one file that runs without this program: from rgb (B, 3, H, W) in [0, 1] to depth, unit "
        "normals and logits of the same size. Not included: resizing images to H x W, labels and colors, "
        "point clouds, and averaging over mirrored or turned views."
    )
    _add_checkpoint_option(parser)
    parser.add_argument("--out", required=True, metavar="FILE", help="output file: .onnx, or .pt2 for torch-export")
    parser.add_argument(
        "--format", required=True, choices=EXPORT_FORMATS, help="onnx for ONNX runtimes, torch-export for torch"
    )
    parser.add_argument("--dynamic_batch", action="store_true", help="any batch size instead of 1")
    parser.add_argument(
        "--height", type=int, metavar="PIXELS", help="height of the panoramas; default: the checkpoint's"
    )
    parser.add_argument("--width", type=int, metavar="PIXELS", help="width of the panoramas, twice the height")
    return parser


def _add_checkpoint_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="PATH",
        help=f"a checkpoint file or a run folder, or the word {DEFAULT}: the weights in this repository "
        "(docs/weights.md)",
    )


def _add_sphere_options(parser: argparse.ArgumentParser) -> None:
    """Images that do not show a whole, upright sphere."""
    group = parser.add_argument_group(
        "images that do not show a whole, upright sphere (these options override GPano metadata)"
    )
    borders = group.add_mutually_exclusive_group()
    borders.add_argument(
        "--vfov", type=angle, metavar="DEGREES", help="vertical field of view, centered on the horizon"
    )
    borders.add_argument(
        "--crop",
        type=float,
        nargs=4,
        metavar=("LEFT", "RIGHT", "TOP", "BOTTOM"),
        help="longitudes and latitudes of the image borders in degrees; the whole sphere is -180 180 90 -90",
    )
    group.add_argument(
        "--cubemap",
        type=face_order,
        nargs="?",
        const="FRBLUD",
        metavar="ORDER",
        help="cube maps: crosses (4x3, 3x4), strips (6x1, 1x6), grids (3x2), or six square files NAME_front, "
        "NAME_right, ...; ORDER of the faces in strips and grids: the first letters of front, right, back, left, up "
        "and down (default: FRBLUD; OpenGL: RLUDFB)",
    )
    group.add_argument(
        "--upright",
        type=float,
        nargs=2,
        metavar=("PITCH", "ROLL"),
        help="degrees by which the camera was tilted upward and clockwise, to level the panorama",
    )
    group.add_argument(
        "--mask",
        metavar="PATH",
        help="masks with the aspect ratio of the images, white where pixels are valid, black elsewhere (tripod, ...): "
        "one file for all images, or a folder with a mask of the same name for each image",
    )
    group.add_argument("--black_bars", action="store_true", help="mark black rows at the top and bottom as not valid")
    group.add_argument("--force", action="store_true", help="stretch images that are not twice as wide as high")


def face_order(text: str) -> str:
    """Type of an option: the letters F, R, B, L, U and D in any order."""
    if sorted(text.upper()) != sorted("FRBLUD"):
        raise argparse.ArgumentTypeError(f"{text}: pass the letters F, R, B, L, U and D in some order")
    return text.upper()


def map_height(text: str) -> int | str:
    """Type of an option: a number of rows up to those of the largest panorama, or "own"."""
    if text != "own" and not (text.isdecimal() and 0 < int(text) <= _LARGEST_MAP):
        raise argparse.ArgumentTypeError(f"{text}: pass a number from 1 to {_LARGEST_MAP}, or own")
    return text if text == "own" else int(text)
