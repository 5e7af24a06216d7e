"""The documentation: its links, its examples, and the tables that repeat what the project says elsewhere.

tests/deployed/test_callers.py runs the examples of docs/callers.md.
"""

import json
import re
import subprocess

import pytest
from cfnlint.api import lint
from samtranslator.yaml_helper import yaml_parse

from cancellation.errors import ERROR_KINDS
from tests.pages import MARKDOWN, ROOT, code_blocks

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def blocks(language):
    """Return the code blocks in a language: (page:line, text)."""
    return [
        pytest.param(text, id=f"{page.relative_to(ROOT)}:{line}")
        for page in PAGES
        for line, text in code_blocks(page, language).items()
    ]


def headings(page):
    """Return the anchors that a page's headings have on GitHub."""
    tokens = MARKDOWN.parse(page.read_text())
    texts = [
        tokens[number + 1].content for number, token in enumerate(tokens) if token.type == "heading_open"
    ]
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in texts}


def links(page):
    """Return where the links and pictures of a page lead to."""
    inline = [child for token in MARKDOWN.parse(page.read_text()) for child in token.children or []]
    return [
        str(child.attrs.get("href") or child.attrs["src"])
        for child in inline
        if child.type in ("link_open", "image")
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_inside_the_project_lead_somewhere(page):
    broken = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = page if not path else page.parent / path
        if "://" not in link and (not target.exists() or (anchor and anchor not in headings(target))):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("text", blocks("bash"))
def test_shell_examples_are_shell(text):
    checked = subprocess.run(
        ["bash", "-n"], input=text.replace("<tag or commit>", "v1"), text=True, capture_output=True
    )
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("text", blocks("bash"))
def test_each_other_stack_is_deployed_with_a_prefix_of_its_own(text):
    """`sam delete` deletes everything under a stack's prefix."""
    for command in re.findall(r"sam deploy(?:[^\n]|\\\n)*", text):
        stack = re.search(r"--stack-name (\S+)", command)
        assert not stack or f"--s3-prefix {stack[1]}" in command


@pytest.mark.parametrize("text", blocks("json"))
def test_json_examples_are_json(text):
    json.loads(text)


@pytest.mark.parametrize("text", blocks("yaml"))
def test_templates_pass_the_linter_of_cloudformation(text):
    template = yaml_parse(text)
    if "Resources" in template:
        assert [str(match) for match in lint(text)] == []


def test_the_readme_has_every_parameter_with_its_default():
    readme = (ROOT / "README.md").read_text()
    for name, parameter in yaml_parse((ROOT / "template.yaml").read_text())["Parameters"].items():
        (row,) = re.findall(rf"^\| `{name}` \|(.*?)\|", readme, re.MULTILINE)
        assert row.strip().strip("`") == (str(parameter["Default"]) or "empty")


def test_the_page_for_callers_has_every_error_with_its_rules():
    page = (ROOT / "docs" / "callers.md").read_text()
    for code, kind in ERROR_KINDS.items():
        (row,) = re.findall(rf"^\| `{code}` \|(.*)\|$", page, re.MULTILINE)
        status, retry, queue = [cell.strip() for cell in row.split("|")[:3]]
        assert str(kind.status) in status
        assert retry == ("yes" if kind.retryable else "no")
        assert queue in ("", "dead letter" if kind.is_final else "stays")


def test_the_outcome_in_the_docs_is_the_sample_event():
    sample = json.loads((ROOT / "events" / "outcome.json").read_text())
    (shown,) = [json.loads(block.values[0]) for block in blocks("json") if "outcomes.md" in block.id]
    assert shown == {key: sample[key] for key in shown}
