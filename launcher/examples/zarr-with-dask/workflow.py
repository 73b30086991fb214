"""A small Zarr store, three ways to open it, and one question: how warm was each month?"""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import intake
import numpy as np
import pandas as pd
import xarray as xr

HERE = Path(__file__).resolve().parent
STORE = HERE / "temperature.zarr"


def write_store(path: Path = STORE) -> None:
    """A year of daily temperatures on a grid of 60 x 80 points, in chunks of a month. The same at every call."""
    days = pd.date_range("2024-01-01", "2024-12-31")
    season = 10 - 12 * np.cos(2 * np.pi * days.dayofyear.to_numpy() / 366)
    noise = np.random.default_rng(2024).normal(scale=3, size=(len(days), 60, 80))
    temperature = xr.DataArray(
        season[:, None, None] + noise, dims=("time", "y", "x"), coords={"time": days}, attrs={"units": "degC"}
    )
    # Version 2 has consolidated metadata, which HTTP needs: a web server cannot list a directory.
    temperature.to_dataset(name="temperature").chunk(time=31).to_zarr(path, mode="w", zarr_format=2, consolidated=True)


def open_store(path: Path | str = STORE, **options: object) -> xr.Dataset:
    """The store, lazily: nothing is read before somebody asks for numbers. ``chunks=None`` goes without Dask."""
    return xr.open_zarr(path, consolidated=True, **options)


def open_catalogue(path: Path = HERE / "catalogue.yml") -> xr.Dataset:
    """The same data by its name in the catalogue."""
    return intake.open_catalog(str(path)).temperature.to_dask()


@contextmanager
def served(directory: Path = HERE) -> Iterator[str]:
    """The address at which the directory can be read over HTTP, until the end of the block."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(directory)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def monthly_means(data: xr.Dataset) -> np.ndarray:
    """Twelve numbers: the mean temperature of each month, over the whole grid."""
    return data.temperature.mean(("x", "y")).groupby("time.month").mean().compute().to_numpy()
