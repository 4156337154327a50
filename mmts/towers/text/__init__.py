"""One file a text tower: how it is built, and which tokenizer it reads with."""
