"""`python -m reasoner.demo`: the whole system on real video and speech, with a crash in the
middle.
"""
