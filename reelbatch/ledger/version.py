"""The schema's version, apart from the schema: a quick look at a table asks for it without importing SQLAlchemy."""

VERSION = 4
"""Of the schema in schema.py. A table of an older version is migrated, one of a newer version refused."""
