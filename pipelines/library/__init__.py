"""Whole libraries by Ray Data: a folder, a bucket or a list of files becomes documents of one account.

`sources` names the files, `intake` makes documents of them, `actors` runs the stages of `pipelines/ingest.py`
on tables, `plan` puts them together, `run` is the program of one job, `cluster` what it works with.
"""
