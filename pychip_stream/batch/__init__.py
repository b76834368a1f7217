"""Batch: frames and runs that lie there already, shared out over a Dask cluster."""
