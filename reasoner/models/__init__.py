"""Language models that turn evidence into sentences."""
