"""The forms that a traced network is written in, and how a written file is run."""

import json
import sys
from abc import ABC, abstractmethod
from importlib.util import find_spec
from pathlib import Path

import torch
from torch.export import ExportedProgram

from utils.errors import UserError


class Format(ABC):
    """A form of file.

    Attributes:
        suffix: of its files.
        packages: that writing and checking one needs.
    """

    suffix: str
    packages: tuple[str, ...] = ()

    def require(self, out: Path) -> None:
        """Make sure that a file can be written as `out`.

        Raises:
            UserError: when the suffix is another one, or a package is missing.
        """
        if out.suffix != self.suffix:
            raise UserError(f"--out {out}: a file of this format ends in {self.suffix}")
        if missing := [name for name in self.packages if not find_spec(name)]:
            raise UserError(f"{', '.join(missing)} not found: pip install {' '.join(self.packages)}")

    @abstractmethod
    def write(self, program: ExportedProgram, tasks: tuple[str, ...], metadata: dict[str, str], path: Path) -> None:
        """Write a traced network, whose predictions are of these tasks, into one file."""

    @abstractmethod
    def run(self, path: Path, rgb: torch.Tensor) -> dict[str, torch.Tensor]:
        """Predictions by task, of ``rgb`` (B, 3, H, W) in [0, 1], by a written file."""


class Onnx(Format):
    """ONNX, with the metadata as `metadata_props`; onnxruntime runs it."""

    suffix = ".onnx"
    packages = ("onnx", "onnxscript", "onnxruntime")

    def write(self, program: ExportedProgram, tasks: tuple[str, ...], metadata: dict[str, str], path: Path) -> None:
        from onnxscript.optimizer import optimize

        onnx_program = torch.onnx.export(
            program,
            dynamo=True,
            input_names=["rgb"],
            output_names=list(tasks),
            dynamic_shapes={"rgb": {0: "batch"}} if program.range_constraints else None,  # to name it
            verbose=False,
        )
        # What the conversion added; without limits, as it leaves the constants that are large otherwise.
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
    """What `torch.export.save` writes, with the metadata as ``metadata.json`` in it; torch runs it by itself."""

    suffix = ".pt2"

    def write(self, program: ExportedProgram, tasks: tuple[str, ...], metadata: dict[str, str], path: Path) -> None:
        torch.export.save(program, path, extra_files={"metadata.json": json.dumps(metadata, indent=2)})

    @torch.no_grad()
    def run(self, path: Path, rgb: torch.Tensor) -> dict[str, torch.Tensor]:
        return torch.export.load(path).module()(rgb)


FORMATS = {"onnx": Onnx(), "torch-export": TorchExport()}
