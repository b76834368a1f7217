"""What several tests, and some benchmarks, build on."""
