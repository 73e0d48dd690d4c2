"""Sphinx configuration of the documentation site; ``tox -e docs`` builds it."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "rejoinder"
copyright = "The rejoinder authors"
version = release = installed_version("rejoinder")

extensions = ["myst_parser", "sphinx.ext.autodoc", "rejoinder_reference"]
exclude_patterns = ["examples", "baselines", "_ext"]

# Indented blocks without a language show commands and what they print.
highlight_language = "console"

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 4

autodoc_member_order = "groupwise"
autodoc_typehints = "signature"
add_module_names = False
# Names that annotations mention and Sphinx sees in a form that cannot be imported.
nitpick_ignore = [("py:class", "Traversable"), ("py:class", "types.Annotated")]

# Options begin with two hyphens, which would become a dash.
smartquotes = False

html_theme = "furo"
html_title = f"rejoinder {version}"
html_copy_source = False
html_show_sphinx = False
