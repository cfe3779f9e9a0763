"""The engine: one user's memory as a whole, and the database of users."""
