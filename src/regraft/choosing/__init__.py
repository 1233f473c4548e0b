"""Which way to use, by what was measured on this data."""
