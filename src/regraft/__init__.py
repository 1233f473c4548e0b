"""Regraft: a folder of photographs becomes a tested image classifier by transfer learning."""

__version__ = "0.1.0"
