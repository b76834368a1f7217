"""Leaf programs that wire the library together; nobody imports them."""
