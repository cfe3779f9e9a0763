"""One user's memory as files that other programs read: Parquet for rows, safetensors for tensors.

Written and read through the ordinary interface (`memdb.types.database`), embedded or over gRPC.  Needs
the extra ``memdb[export]``.  The format is described in docs/export-format.md.
"""
