"""The functions that lower operators, one module a family, each with its part of the table."""
