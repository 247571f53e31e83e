"""How Sphinx builds the pages of this folder: `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "vel2"
author = "the vel2 maintainers"
copyright = "the vel2 maintainers, Apache-2.0"  # Sphinx's name for it
extensions = ["myst_parser", "source_links"]
source_suffix = {".md": "markdown"}
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "vel2"
html_copy_source = False
html_show_sourcelink = False
nitpicky = True
# Links to the web are for Sphinx's own `linkcheck`, which needs it; `make docs` checks all others.
