"""A practice microscope: simulated experiments written as real files."""
