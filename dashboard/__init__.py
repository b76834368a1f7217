"""The operator's web page; a leaf program that nobody imports."""
