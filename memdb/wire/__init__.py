"""Between values and `memdb.v1` messages, both ways; protobuf stops here.

One file per noun; every file has pairs ``X_to_proto(value) -> message`` and
``X_from_proto(message) -> value``.  What a client asks is a pair as well: ``X_request(...) ->
message`` checks the arguments of the Python call and builds the request, ``X_arguments(message)``
gives the server those arguments back (a zero ``limit`` means the default).  Errors cross by the
one table of `memdb.wire.status`.

Nothing that came off the wire is trusted: every ``_from_proto`` ends in the checks of
`memdb.types`, so client and server refuse the same values with the same reason, field and value.
"""
