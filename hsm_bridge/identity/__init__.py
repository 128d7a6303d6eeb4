"""Who identified: the provider's tokens verified under pinned keys, and the person compared with the addressee."""
