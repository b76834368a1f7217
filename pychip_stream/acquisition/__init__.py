"""The acquisition folder: which frames are there, whole, and still to be done."""
