"""How Sphinx shows the course's pages, which tools/build_site.py has laid out: `make site`."""

import json
from pathlib import Path

from docutils import nodes

project = "Bayesian deep learning you can run"
author = "The authors of this course"
html_title = project
language = "en"

extensions = ["myst_nb"]
myst_enable_extensions = ["amsmath", "deflist", "dollarmath"]
myst_heading_anchors = 4
myst_links_external_new_tab = False
nb_execution_mode = "off"  # a page shows what is stored
nb_merge_streams = True
add_module_names = False
toc_object_entries = False
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"

html_theme = "sphinx_book_theme"
html_context = {"default_mode": "light"}  # as the pictures are
html_static_path = ["_static"]
html_css_files = ["course.css"]
html_js_files = ["accessible.js", "frames.js"]
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
html_use_index = False  # the search and the reference are the index
html_theme_options = {
    "navbar_persistent": [],
    "home_page_in_toc": False,
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "article_header_end": ["search-button", "toggle-secondary-sidebar"],
    "pygments_light_style": "a11y-high-contrast-light",
}
# MathJax lies beside the pages, so that they need no network
mathjax_path = "mathjax/tex-chtml.js"
mathjax3_config = {
    "options": {"enableMenu": False},
    "chtml": {"displayAlign": "left", "displayIndent": "1em"},
}


def describe_figures(app, document):
    """Give each picture the description that its output stores beside it."""
    page = Path(app.env.doc2path(app.env.docname))
    if page.suffix != ".ipynb":
        return
    stored = [
        output.get("metadata", {}).get("image/png", {}).get("alt")
        for cell in json.loads(page.read_text(encoding="utf-8"))["cells"]
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    shown = [
        image
        for container in document.findall(nodes.container)
        if "cell_output" in container["classes"]
        for image in container.findall(nodes.image)
    ]
    if len(shown) != len(stored):
        raise ValueError(f"{page} stores {len(stored)} pictures, but its page shows {len(shown)}.")
    for image, alt in zip(shown, stored, strict=True):
        if alt:
            image["alt"] = alt


def setup(app):
    app.connect("doctree-read", describe_figures)
