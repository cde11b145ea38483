"""The commit loop: input, one transaction, and only then what others may see of it."""
