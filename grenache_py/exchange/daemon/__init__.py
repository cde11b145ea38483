"""The running peer: its ports, the commit loop, discovery, start and stop."""
