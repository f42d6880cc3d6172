"""NYU v2 as parquet files from the hub: one row per image, one array per column, channels first."""

import os
import re
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import numpy as np

from utils.errors import UserError
from utils.extras import import_extra


class HubRows:
    """The rows of a part, "train" or "val", in a folder of parquet files; no rows if there is no file.

    Raises:
        UserError: when pyarrow is missing, or a file of the part is missing or damaged.
    """

    def __init__(self, root: Path, part: str):
        self._locations: list[tuple[Path, int, int]] = []  # file, row group, and row in the group, of each row
        paths = self.paths(root, part)
        if not paths:
            return
        total = re.search(r"-of-(\d+)", paths[0].stem)
        if total and len(paths) != int(total[1]):
            raise UserError(
                f"{paths[0].parent} has {len(paths)} of the {int(total[1])} files {part}-*.parquet: add the others"
            )
        for path in paths:
            try:
                metadata = _parquet().ParquetFile(path).metadata
            except _damaged() as error:
                raise UserError(f"{path} is not a parquet file, or is damaged") from error
            for group in range(metadata.num_row_groups):
                self._locations += [(path, group, row) for row in range(metadata.row_group(group).num_rows)]

    @staticmethod
    def paths(root: Path, part: str) -> list[Path]:
        """The files of a part, in the folder or in its ``data``."""
        return sorted(root.glob(f"{part}-*.parquet")) or sorted((root / "data").glob(f"{part}-*.parquet"))

    def __len__(self) -> int:
        return len(self._locations)

    def read(self, row: int, column: str) -> np.ndarray:
        """The array in a column of a row.

        Raises:
            UserError: when the file is damaged, or its column is missing or has no arrays.
        """
        path, group, row_in_group = self._locations[row]
        try:
            array = _to_array(_read_group(path, group, column, os.getpid())[row_in_group])
        except KeyError as error:
            raise UserError(f"{path} has no column {column}") from error
        except (*_damaged(), ValueError, TypeError) as error:
            raise UserError(f"{path} is damaged, or its column {column} has no arrays of numbers") from error
        return array


@lru_cache(maxsize=4)
def _read_group(path: Path, group: int, column: str, _process: int):
    """A column of a row group. Each process caches the last four, which is one row group of all columns."""
    table = _parquet().ParquetFile(path).read_row_group(group, columns=[column], use_threads=False)
    values = table.column(column).combine_chunks()
    return getattr(values, "storage", values)  # unwraps the extension types of the `datasets` library


def _to_array(scalar) -> np.ndarray:
    """The array of nested lists, a pyarrow scalar; lists of one level have equal lengths."""
    values, shape = scalar.values, [len(scalar.values)]
    while hasattr(values, "flatten") and values.type.num_fields:
        inner = values.flatten()
        shape.append(len(inner) // max(len(values), 1))
        values = inner
    return values.to_numpy(zero_copy_only=False).reshape(shape)


def _parquet() -> ModuleType:
    return import_extra("pyarrow.parquet", "NYU v2 in parquet files")


def _damaged() -> tuple[type[Exception], ...]:
    return import_extra("pyarrow", "NYU v2 in parquet files").ArrowException, OSError
