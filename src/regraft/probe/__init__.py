"""The network stays: a head learns on its features."""
