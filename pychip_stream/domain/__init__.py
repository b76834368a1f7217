"""The nouns of the field as plain, frozen data; nothing here does input or output."""
