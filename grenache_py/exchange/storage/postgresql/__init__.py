"""A home's store in a PostgreSQL database, fenced by a term."""
