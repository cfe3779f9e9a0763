"""The command `memdb`: one file per verb; importing it loads neither engine nor gRPC."""
