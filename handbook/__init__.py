"""Tools that make the documentation: pages generated from the code, and the sources of the site.

`python -m handbook` writes the generated pages. `python -m handbook.site` lays the sources of the site out for MkDocs.
"""
