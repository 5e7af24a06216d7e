"""The pages of the documentation, read as Markdown."""

from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parent.parent
MARKDOWN = MarkdownIt("commonmark").enable("table")


def code_blocks(page, language):
    """Return the code blocks of a page in a language, by the lines on which they begin."""
    return {
        token.map[0] + 1: token.content
        for token in MARKDOWN.parse(page.read_text())
        if token.type == "fence" and token.info == language
    }
