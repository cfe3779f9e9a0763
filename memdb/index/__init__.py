"""Derived, disposable indexes over the vectors and texts of one user."""
