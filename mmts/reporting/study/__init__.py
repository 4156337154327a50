"""The report of the study: tables, the answer, figures and a page, from the files of `study/`."""
