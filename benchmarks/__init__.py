"""How fast the losses are and how much memory they take, beside the usual way to write them."""
