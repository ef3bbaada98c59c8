"""Writes the features of a video to a file, with the times of its windows."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from videonl.errors import UserError
from videonl.files import whole_path, write_text
from videonl.inference.features import TIMES, Features

FeatureFormat = Literal["npy", "npz", "parquet", "hdf5"]
SUFFIXES: dict[str, str] = {"npy": ".npy", "npz": ".npz", "parquet": ".parquet", "hdf5": ".h5"}


def require_format(kind: str) -> None:
    """Rejects a format that cannot be written.

    Raises:
        UserError: The format is unknown, or it needs a package that is not installed.
    """
    if kind not in SUFFIXES:
        raise UserError(f"unknown format {kind!r}; choose one of {', '.join(get_args(FeatureFormat))}")
    if kind == "hdf5" and find_spec("h5py") is None:
        raise UserError(
            'the format hdf5 needs h5py, which is not installed. Use npz, or: pip install "videonl[features]"'
        )


def save_features(features: Features, path: Path, kind: FeatureFormat) -> None:
    """Writes the file atomically.

    ``npz`` and ``hdf5`` store the arrays of :class:`Features` under their names, and the values as ``features``.
    ``parquet`` has a row for each window with flattened values in ``features``; their shape is in the metadata. ``npy``
    stores the values only; the times go to ``NAME.times.csv`` beside it, which is written first.

    Args:
        features: The features of one video.
        path: The file, with the suffix of the format.
        kind: The format.

    Raises:
        UserError: The file cannot be written.
    """
    require_format(kind)
    if kind == "npy":
        write_text(times_beside(path), _times_csv(features))
    with whole_path(path) as unfinished:
        _WRITERS[kind](features, unfinished)


def times_beside(path: Path) -> Path:
    """The path of the times of a ``.npy`` file.

    >>> times_beside(Path("out/match.1.npy")).as_posix()
    'out/match.1.times.csv'
    """
    return path.with_name(f"{path.stem}.times.csv")


def _arrays(features: Features) -> dict[str, Any]:
    return {"features": features.values, **{name: getattr(features, name) for name in TIMES}}


def _times_csv(features: Features) -> str:
    rows = zip(*(getattr(features, name).tolist() for name in TIMES), strict=True)
    lines = [",".join(f"{value:.6f}" if isinstance(value, float) else str(value) for value in row) for row in rows]
    return "\n".join([",".join(TIMES), *lines, ""])


def _write_npy(features: Features, path: Path) -> None:
    with path.open("wb") as file:  # given a path, numpy would append the suffix
        np.save(file, features.values)


def _write_npz(features: Features, path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, **_arrays(features))


def _write_parquet(features: Features, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    shape = features.values.shape[1:]
    flat = pa.FixedSizeListArray.from_arrays(pa.array(features.values.reshape(-1)), int(np.prod(shape)))
    columns = {name: getattr(features, name) for name in TIMES}
    table = pa.table({**columns, "features": flat})
    pq.write_table(table.replace_schema_metadata({"shape": ",".join(map(str, shape))}), path)


def _write_hdf5(features: Features, path: Path) -> None:
    import h5py

    with h5py.File(path, "w", locking=False) as file:  # the folder is locked already
        for name, array in _arrays(features).items():
            file.create_dataset(name, data=array)


_WRITERS: dict[str, Callable[[Features, Path], None]] = {
    "npy": _write_npy,
    "npz": _write_npz,
    "parquet": _write_parquet,
    "hdf5": _write_hdf5,
}
