"""Analyses: from frames and runs to results."""
