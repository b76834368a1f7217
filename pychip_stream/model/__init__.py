"""Encoder and classifier: from chips to embeddings to labels."""
