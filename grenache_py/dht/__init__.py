"""The distributed hash table: BEP 5 and BEP 44 with Grenache's raw names as info hashes."""
