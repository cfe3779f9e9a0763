"""Frozen values shared by the engine, the wire and every client."""
