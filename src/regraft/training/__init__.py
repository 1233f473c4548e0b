"""Learning by gradients: the loop, what it is fed, what it minimises, and what becomes the model.

PyTorch lives here; the methods import these files when they are run.
"""
