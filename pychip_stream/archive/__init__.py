"""HDF5 on disk: run archives and support sets."""
