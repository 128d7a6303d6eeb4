"""The ports: everything a stage or the gateway may ask of the outside, and the rows that come back."""
