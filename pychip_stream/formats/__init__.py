"""File formats: from a file of any accepted format to frames."""
