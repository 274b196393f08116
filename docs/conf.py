"""How the documentation is built: ``python3 bootstrap.py docs``."""

import importlib.util
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import unshaken

project = "unshaken"
author = "The unshaken contributors"
copyright = author
release = version = unshaken.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"unshaken {release}"
html_static_path = ["static"]
html_css_files = ["pictures.css"]
html_copy_source = False
html_show_copyright = False

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_class_signature = "mixed"
# The reference describes the Lightning module without Lightning too.
autodoc_mock_imports = [] if importlib.util.find_spec("lightning") else ["lightning"]
