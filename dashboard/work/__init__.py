"""What the pages show and let do, without any widget."""
