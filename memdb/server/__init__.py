"""The engine over gRPC.

::

    bytes ── calls.py ── *_service.py ── engine        unary and paged answers: one executor hop
    bytes ── calls.py ── ingest.py, watch.py ── engine  long streams: coroutines

The event loop parses small messages and moves bytes; whatever may block runs on the bounded pools
of `executors.py`.  Services are plain classes over values: they know neither gRPC nor asyncio, and
every request, error and log line passes the one wrapper in `calls.py`.
"""
