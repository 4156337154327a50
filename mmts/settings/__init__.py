"""The settings of params.yaml as types: names, ranges, defaults, and what each number means."""
