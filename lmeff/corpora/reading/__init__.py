"""Files of text on this disk or the Hub, and the records in them."""
