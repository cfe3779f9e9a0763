"""One module for each workload; each has ``run(setup) -> Result``."""
