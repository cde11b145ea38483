"""What an operator sets: the configuration, and the files with secrets."""
