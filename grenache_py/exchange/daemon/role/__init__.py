"""The role of a daemon among several of one home, played: the term, and what is said of it."""
