"""The computer: cores, precision, threads, processes, and where things are kept on disk."""
