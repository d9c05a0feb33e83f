"""A Langflow database: SQLite or PostgreSQL, as Langflow 1.13 and its neighbours make it."""
