"""Fills between two homes: the taker's side, the maker's side, and their messages."""
