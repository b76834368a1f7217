"""From files to frames: finding them, judging them whole, reading them."""
