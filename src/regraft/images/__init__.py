"""Bytes to pixels: the one safe decoder, the geometry, the facts of a file."""

# Part of every feature's recipe: raised when a rule of docs/images.md changes a pixel.
DECODER_VERSION = "4"
