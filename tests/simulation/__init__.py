"""Seeded runs of the whole core in virtual time; docs/proof.md says what is simulated, and what must hold."""
