"""The truth: LMDB environments, their tables and the bytes of every value."""
