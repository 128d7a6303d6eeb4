"""PostgreSQL: connections, transactions, the mailbox and the stores. Every statement is a named query of `sql`."""
