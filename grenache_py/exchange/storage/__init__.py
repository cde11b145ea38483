"""The SQLite file of one home: schema, statements, queries, and the threads that work on it."""
