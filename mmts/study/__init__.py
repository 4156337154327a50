"""The study: methods that are tuned alike, trained with several seeds, tested once."""
