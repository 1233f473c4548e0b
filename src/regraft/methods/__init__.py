"""Features to classifiers. One method a file, one line here."""

from regraft.methods.probe import Probe

METHODS = {"probe": Probe}
