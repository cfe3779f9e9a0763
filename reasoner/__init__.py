"""The reasoner: from a question in words to the moments in memory that answer it, and an answer
that cites them.
"""
