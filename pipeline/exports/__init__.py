"""What a sender takes home in bulk: a batch's proof of deposit and exports. Performed by the stage `archive`."""
