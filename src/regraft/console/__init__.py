"""What people see in a terminal of every command's outcome; plain lines where it is no terminal.

Only formats. Every number comes from the library, and ``--json`` prints the library's own object.
"""
