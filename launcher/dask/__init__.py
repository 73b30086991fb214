"""Dask-Gateway beside the hub: who may have clusters, of what size, in which environment, for how long."""
