"""Networks and the conversion of weights into them."""
