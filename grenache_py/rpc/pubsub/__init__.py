"""Publish and subscribe: one publisher, many subscribers, over WebSocket."""
