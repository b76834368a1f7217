"""`simulate`: the practice microscope on the command line."""
