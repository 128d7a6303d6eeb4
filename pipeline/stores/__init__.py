"""What a face asks of the database: ports and the rows that come back, one file for each who asks."""
