"""Pixels to numbers: recipe, engines, the one pass, the store."""
