"""Stimulus: logs of holders, furnaces and the like, understood and followed.

One file per dialect; `logs` is what others call.
"""
