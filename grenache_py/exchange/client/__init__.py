"""The other end of the client port: a blocking client, a book mirror, a load generator."""
