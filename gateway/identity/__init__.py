"""The identity wall: nobody accepts, refuses or reads before a person has identified."""
