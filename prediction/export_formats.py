"""File formats of exported networks: writing and running them."""

import json
import sys
from abc import ABC, abstractmethod
from importlib.util import find_spec
from pathlib import Path

import torch
from torch.export import ExportedProgram

from utils.errors import UserError


class Format(ABC):
    """A file format.

    Attributes:
        suffix: file name extension.
        packages: needed to write and check a file.
    """

    suffix: str
    packages: tuple[str, ...] = ()

    def require(self, out: Path) -> None:
        """Make sure that a file can be written as `out`.

        Raises:
            UserError: when the suffix is wrong, or a package is missing.
        """
        if out.suffix != self.suffix:
            raise UserError(f"--out {out}: a file of this format ends in {self.suffix}")
        if missing := [name for name in self.packages if not find_spec(name)]:
            raise UserError(f"{', '.join(missing)} not found: pip install {' '.join(self.packages)}")

    @abstractmethod
    def write(self, program: ExportedProgram, tasks: tuple[str, ...], metadata: dict[str, str], path: Path) -> None:
        """Write a traced network, which predicts these tasks, to one file."""

    @abstractmethod
    def run(self, path: Path, rgb: torch.Tensor) -> dict[str, torch.Tensor]:
        """The predictions by task of an exported file for ``rgb`` (B, 3, H, W) in [0, 1]."""


class Onnx(Format):
    """ONNX, with the metadata in `metadata_props`."""

    suffix = ".onnx"
    packages = ("onnx", "onnxscript", "onnxruntime")

    def write(self, program: ExportedProgram, tasks: tuple[str, ...], metadata: dict[str, str], path: Path) -> None:
        from onnxscript.optimizer import optimize

        onnx_program = torch.onnx.export(
            program,
            dynamo=True,
            input_names=["rgb"],
            output_names=list(tasks),
            dynamic_shapes={"rgb": {0: "batch"}} if program.range_constraints else None,  # names the dimension
            verbose=False,
        )
        # Folds constants added by the conversion, also large ones, which are skipped by default
        optimize(onnx_program.model, input_size_limit=sys.maxsize, output_size_limit=sys.maxsize)
        onnx_program.model.metadata_props.update(metadata)
        onnx_program.save(path, external_data=False)

    def run(self, path: Path, rgb: torch.Tensor) -> dict[str, torch.Tensor]:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        values = session.run(names, {"rgb": rgb.numpy()})
        return {name: torch.from_numpy(value) for name, value in zip(names, values, strict=True)}


class TorchExport(Format):
    """A file of `torch.export.save`, with the metadata in ``metadata.json``; running it needs only torch."""

    suffix = ".pt2"

    def write(self, program: ExportedProgram, tasks: tuple[str, ...], metadata: dict[str, str], path: Path) -> None:
        torch.export.save(program, path, extra_files={"metadata.json": json.dumps(metadata, indent=2)})

    @torch.no_grad()
    def run(self, path: Path, rgb: torch.Tensor) -> dict[str, torch.Tensor]:
        return torch.export.load(path).module()(rgb)


FORMATS = {"onnx": Onnx(), "torch-export": TorchExport()}
