"""Other engines that store vectors, asked the same questions on the same machine in the same run.

Each has an environment of its own below ``bench/.peers`` (``python -m bench.peers.install``), where
`bench.peers.driver` runs it; so everything here imports the standard library and numpy alone, and an engine's packages
only within its own module.  ``python -m bench peers`` is `bench.workloads.peers`.
"""
