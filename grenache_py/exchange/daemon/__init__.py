"""The running peer: sockets, the commit loop, discovery, configuration, start and stop."""
