"""Exports: what a run holds, as tables, curves, pictures and films."""
