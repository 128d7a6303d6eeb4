"""What a sender's words must say (lines, JSON, fields, addresses), and drawing letters from batches of them."""
