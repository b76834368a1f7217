"""How the package's own encoder is made: procedural micrographs, few-shot episodes, export."""
