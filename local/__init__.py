"""The local stack: an AWS emulator, a Clopos simulator, a page that shows both, and the benchmarks."""
