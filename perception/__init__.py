"""Programs that turn streams of pictures and sound into clips of memory: `memdb-ingest` and its
parts.

Importing this package is light; torch, PyAV and onnxruntime are imported by the modules that use
them.
"""
