"""What the hub publishes under."""

SUPPORT = b"support"
STATUS = b"status"
SEEN = b"seen"
LIVE = b"live"
ALERT = b"alert"
