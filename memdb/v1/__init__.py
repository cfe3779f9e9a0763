"""Generated from proto/memdb/v1 by `make proto`: the messages and services of memdb.v1."""
