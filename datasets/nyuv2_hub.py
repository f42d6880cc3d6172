"""NYU v2 as the hub's parquet files: rows with an array of numbers, channels first, in each column."""

import os
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import numpy as np

from utils.errors import UserError
from utils.extras import import_extra


class HubRows:
    """The rows of a part, "train" or "val", of a folder of parquet files.

    Raises:
        UserError: when pyarrow or a file of the part is missing, or one is damaged.
    """

    def __init__(self, root: Path, part: str):
        self._places: list[tuple[Path, int, int]] = []  # of each row: file, row group, row in it
        paths = self.paths(root, part)
        if not paths:
            return
        expected = int(paths[0].stem.rpartition("-of-")[2] or 0)
        if expected and len(paths) != expected:
            raise UserError(
                f"{paths[0].parent} holds {len(paths)} of the {expected} files {part}-*.parquet: add the rest"
            )
        for path in paths:
            try:
                metadata = _parquet().ParquetFile(path).metadata
            except _damaged() as error:
                raise UserError(f"{path} is not a parquet file, or is damaged") from error
            for group in range(metadata.num_row_groups):
                self._places += [(path, group, row) for row in range(metadata.row_group(group).num_rows)]

    @staticmethod
    def paths(root: Path, part: str) -> list[Path]:
        """The files of a part: in the folder, or in its ``data``."""
        return sorted(root.glob(f"{part}-*.parquet")) or sorted((root / "data").glob(f"{part}-*.parquet"))

    def __len__(self) -> int:
        return len(self._places)

    def read(self, row: int, column: str) -> np.ndarray:
        """The array of a row, of as many dimensions as its lists are nested.

        Raises:
            UserError: when the file is damaged, or holds no such numbers.
        """
        path, group, row_in_group = self._places[row]
        try:
            array = _to_array(_read_group(path, group, column, os.getpid())[row_in_group])
        except KeyError as error:
            raise UserError(f"{path} holds no column {column}") from error
        except (*_damaged(), ValueError, TypeError) as error:
            raise UserError(f"{path} is damaged, or its column {column} holds no arrays of numbers") from error
        return array


@lru_cache(maxsize=4)
def _read_group(path: Path, group: int, column: str, _process: int):
    """A column of a row group. The latest row group of four columns is kept, in each process."""
    table = _parquet().ParquetFile(path).read_row_group(group, columns=[column], use_threads=False)
    values = table.column(column).combine_chunks()
    return getattr(values, "storage", values)  # of the extension types that the `datasets` library writes


def _to_array(nested) -> np.ndarray:
    """Nested lists, a scalar of pyarrow, of which all of one level are equally long."""
    values, shape = nested.values, [len(nested.values)]
    while hasattr(values, "flatten") and values.type.num_fields:
        inner = values.flatten()
        shape.append(len(inner) // max(len(values), 1))
        values = inner
    return values.to_numpy(zero_copy_only=False).reshape(shape)


def _parquet() -> ModuleType:
    return import_extra("pyarrow.parquet", "NYU v2 in parquet files")


def _damaged() -> tuple[type[Exception], ...]:
    return import_extra("pyarrow", "NYU v2 in parquet files").ArrowException, OSError
