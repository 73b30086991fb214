"""On the import path of a session's kernels when the hub has Dask; nothing else is to be found in this folder."""
