"""Which of several daemons of one identity serves: the term, and how it passes on."""
