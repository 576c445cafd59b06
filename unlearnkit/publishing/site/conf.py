"""Sphinx settings of the report: executed notebooks to pages that load nothing from elsewhere."""

from docutils import nodes
from latex2mathml.converter import convert

project = "Unlearning by the first epoch's gradients"
extensions = ["myst_nb"]
html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["report.css"]
html_css_files = ["report.css"]
html_show_sourcelink = False
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
html_math_renderer = "latex2mathml"
html_theme_options = {
    **{"use_download_button": False, "use_fullscreen_button": False},
    "navbar_persistent": [],  # or a second search field stands above the page
}
exclude_patterns = ["**.ipynb_checkpoints"]
numfig = True
nb_execution_mode = "off"
nb_ipywidgets_js = {}  # would be loaded from elsewhere; each widget has a static figure beside it
nb_code_prompt_show, nb_code_prompt_hide = "Code", "Hide the code"
nb_merge_streams = True
nb_render_markdown_format = "myst"  # the tables that cells put out
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3


def _inline(translator, node):
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode  # or the source would follow the formula


def _block(translator, node):
    number = f"({node['number']})" if node.get("number") else ""
    label = f' id="equation-{node["label"]}"' if node.get("label") else ""
    formula = convert(node.astext(), display="block")
    translator.body.append(f'<div class="math"{label}><span class="eqno">{number}</span>{formula}</div>')
    raise nodes.SkipNode


def setup(app):
    """Formulas as MathML, which browsers draw themselves."""

    def leave(translator, node):
        pass

    app.add_html_math_renderer("latex2mathml", (_inline, leave), (_block, leave))
    return {"parallel_read_safe": True}
