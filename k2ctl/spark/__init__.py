"""Spark for what one machine should not do alone: maintenance, SQL and checks of the whole table."""
