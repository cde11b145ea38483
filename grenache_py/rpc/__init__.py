"""Services that talk to each other directly: RPC and pub/sub over HTTP and WebSocket."""
