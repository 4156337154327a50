"""Tables, figures and the results page: what the `report` stage writes."""
