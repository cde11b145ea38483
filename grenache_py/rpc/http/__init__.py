"""RPC over HTTP: a server's and a client's side of a connection."""
