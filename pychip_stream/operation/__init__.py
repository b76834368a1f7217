"""Operation: supervising a run and telling how it does."""
