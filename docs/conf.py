"""Sphinx configuration of the documentation site; ``tox -e docs`` builds it."""

from __future__ import annotations

from importlib.metadata import version as installed_version

project = "rejoinder"
copyright = "The rejoinder authors"
version = release = installed_version("rejoinder")

extensions = ["myst_parser"]
exclude_patterns = ["examples", "baselines", "_ext"]

# Indented blocks without a language show commands and what they print.
highlight_language = "console"

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 4

html_theme = "furo"
html_title = f"rejoinder {version}"
html_copy_source = False
html_show_sphinx = False
