"""The operator's page; a leaf program that nobody imports.

State lives in plain objects (`state`, `history`, `pictures`) that one background thread (`feed`)
fills; the sessions of the viewers pull from them. Views are small classes, one file each.
"""
