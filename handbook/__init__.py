"""The documentation's machine: pages that are made from the code, and the site that they are put together to.

`python -m handbook` writes the pages that are made. `python -m handbook.site` lays the sources of the site out for MkDocs.
"""
