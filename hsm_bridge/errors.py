"""The root of the errors whose text the bridge, or who asked it, may write down: on stderr, in a log, in a dead letter.

Their texts carry labels and ids of keys, names of files, operations, codes and types; never an item or what a library
said (tests/tidy/test_texts_of_errors.py holds it). Every other error's text is for the caller who sent the item.
"""


class BridgeError(Exception):
    """Root of the tree; never raised itself."""
