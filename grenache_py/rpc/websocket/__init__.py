"""RPC and publish/subscribe over WebSocket: a server's and a client's side of a connection."""
