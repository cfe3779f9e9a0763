"""Tensor codecs, used where memory is made (clients) and where it is checked (server)."""
