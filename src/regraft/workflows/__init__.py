"""What each command does, told once, without the command line."""
