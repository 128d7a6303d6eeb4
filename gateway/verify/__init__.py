"""The public page that checks a proof."""
