"""What commands, services and dashboard have in common: whole pieces of work."""
