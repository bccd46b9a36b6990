"""Reply templates in the portal: the list, the editor with its preview, and texts that cannot be filled in."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from dsr_sdk.host import Host
from dsr_sdk.host.answers.templates import Template
from dsr_sdk.host.people.roles import Role
from tests.portal.conftest import Client, address
from tests.portal.test_pages import findings

if TYPE_CHECKING:
    from playwright.sync_api import Page

ADMIN = address(Role.ADMIN)
FIELDS = {"name": "Warm words", "type": "deletion", "decision": "accepted", "language": "de", "subject": "Erledigt: {{ case }}", "body": "Guten Tag"}


def seen(client: Client, url: str) -> str:
    """A page's text, with blanks made one."""
    response = client.visit(url)
    assert response.status_code == 200, response.text
    return " ".join(response.text.split())


def own(host: Host) -> list[Template]:
    return [template for template in host.templates.list() if not template.builtin]


def test_the_list_by_type_decision_and_language(admin: Client, host: Host) -> None:
    """Twenty defaults in four languages, and the host's own with what they are used for; filters narrow both."""
    host.templates.save(Template(None, "Own <b>", "copy", None, "pt-br", "S", "B", preferred=True, automatic=True), by=ADMIN)
    text = seen(admin, "/templates")
    assert len(set(re.findall(r'href="/templates/(\w+\.\w+\.\w\w)"', text))) == 80
    assert "Own &lt;b&gt;" in text
    assert "Every decision" in text
    assert ("Preferred" in text, "Automatic" in text) == (True, True)
    assert text.count("<caption") == text.count("<table") == 2
    narrowed = seen(admin, "/templates?type=copy&decision=rejected&language=fr")
    assert re.findall(r'href="/templates/(\w+\.\w+\.\w\w)"', narrowed) == ["copy.rejected.fr"]
    assert "No template of your own fits this filter" in narrowed
    assert "Own &lt;b&gt;" in seen(admin, "/templates?language=pt-br")
    assert admin.get("/templates?type=nonsense&decision=nonsense&language=xx").status_code == 200


def test_a_default_becomes_one_of_your_own(admin: Client, host: Host) -> None:
    """It is read with its preview, copied with its text, and stays as it is itself."""
    text = seen(admin, "/templates/deletion.accepted.en")
    assert "Dear Ada Lovelace," in text
    assert "disabled" in text
    assert "/templates/new?from=deletion.accepted.en" in text
    begun = seen(admin, "/templates/new?from=deletion.accepted.en")
    assert 'value="Deletion' in begun or 'value="deletion' in begun
    assert "Dear {{ full_name }}" in begun
    assert admin.form("/templates/new", **FIELDS, preferred="1").headers["location"] == "/templates"
    (made,) = own(host)
    assert (made.name, made.type, made.decision, made.language, made.preferred, made.automatic) == (
        "Warm words",
        "deletion",
        "accepted",
        "de",
        True,
        False,
    )
    refused = admin.form("/templates/deletion.accepted.en", **FIELDS, revision=0)
    assert refused.status_code == 400
    assert len(own(host)) == 1


def test_changed_by_two_at_once(admin: Client, host: Host) -> None:
    """The second is told, and keeps what they wrote."""
    made = host.templates.save(Template(None, "One", None, None, "en", "S", "B"), by=ADMIN)
    admin.visit(f"/templates/{made.id}")
    said = admin.form(f"/templates/{made.id}", **FIELDS, preferred="1", automatic="1", sure="1", revision=0)
    assert said.status_code == 303
    assert "goes out by itself" in seen(admin, "/templates")
    late = admin.form(f"/templates/{made.id}", **{**FIELDS, "body": "My other words"}, revision=0)
    assert late.status_code == 409
    assert "My other words" in late.text
    assert own(host)[0].body == "Guten Tag"
    assert admin.form(f"/templates/{made.id}/archive").headers["location"] == "/templates"
    assert own(host) == []
    assert admin.get(f"/templates/{made.id}").status_code == 404


@pytest.mark.parametrize(
    ("body", "line", "words"),
    [
        ("Hello\n\n{{ subject.__class__ }}\nend", 3, "subject.__class__ is not allowed"),
        ("Hello\n{{ email.__class__.__mro__ }}", 2, "is not allowed"),
        ("Dear {{ first_nam }},", 1, "did you mean &#39;first_name&#39;?"),
        ("a\nb\n{% if reason %}", 3, ""),
        ("{{ cycler() }}", 1, "not allowed"),
        ("x\n{% for a in range(9) %}{% endfor %}", 2, "a loop goes through"),
    ],
)
def test_a_bad_template_shows_the_line_and_keeps_the_text(admin: Client, host: Host, body: str, line: int, words: str) -> None:
    """Nothing is saved; the line at fault is shown as it was written."""
    admin.visit("/templates/new")
    for do in ("save", "preview"):
        answer = admin.form("/templates/new", **{**FIELDS, "body": body}, do=do)
        assert answer.status_code == (400 if do == "save" else 200)
        assert words in answer.text
        found = re.search(r'excerpt-line wrong"><span class="excerpt-number">(\d+)</span>([^\n]*)', answer.text)
        assert found is not None
        assert int(found[1]) == line
        assert found[2] in answer.text.split("<textarea")[1].split("</textarea>")[0]
        kept = answer.text.split("<textarea")[1].split("</textarea>")[0]
        assert "Warm words" in answer.text
        assert kept.count("\n") >= body.count("\n")
    assert own(host) == []


def test_a_wrong_field_is_named(admin: Client, host: Host) -> None:
    """No name, a language that is none, automatic without preferred, an empty text."""
    admin.visit("/templates/new")
    for change, words in (
        ({"name": ""}, "field-error"),
        ({"language": "Klingon!"}, "is not a language tag"),
        ({"automatic": "1"}, "must be preferred"),
        ({"body": ""}, "Is empty"),
        ({"type": "nonsense"}, "Is not a type of request"),
    ):
        answer = admin.form("/templates/new", **{**FIELDS, **change})
        assert answer.status_code == 400, change
        assert words in answer.text, change
    assert own(host) == []


def test_the_preview_follows_what_is_written(admin: Client) -> None:
    """For scripts a part, without scripts the page; made-up names, and nothing is kept."""
    admin.visit("/templates/new")
    headers = {"origin": "http://testserver", "hx-request": "true"}
    data = {**FIELDS, "csrf": admin.csrf, "body": "Guten Tag {{ full_name }}, am {{ received_on }}"}
    part = admin.post("/templates/preview", data=data, headers=headers).text
    assert "<html" not in part
    assert "Guten Tag Ada Lovelace, am 2. März 2026" in part
    whole = admin.post("/templates/preview", data=data, headers={"origin": "http://testserver"}).text
    assert "<html" in whole
    assert "Guten Tag Ada Lovelace" in whole
    markup = admin.post("/templates/preview", data={**data, "body": "<script>alert(1)</script>"}, headers=headers).text
    assert "<script>" not in markup
    assert "&lt;script&gt;" in markup
    huge = admin.post("/templates/preview", data={**data, "body": "x" * 20_001}, headers=headers)
    assert "longer than 20000 characters" in huge.text


def test_those_who_may_not_write_only_read(signed_in_as: Callable[[Role], Client], host: Host) -> None:
    """An agent sees templates and their preview, and no button."""
    made = host.templates.save(Template(None, "One", None, None, "en", "S", "B"), by=ADMIN)
    client = signed_in_as(Role.AGENT)
    text = seen(client, f"/templates/{made.id}")
    assert '<button type="submit"' not in text.split("<main")[1]
    assert '<fieldset class="bare-fields" disabled>' in text
    assert client.get("/templates/new").status_code == 403
    assert client.form(f"/templates/{made.id}", **FIELDS, revision=0).status_code == 403
    assert client.form("/templates/preview", **FIELDS).status_code == 403


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 380)])
def test_nothing_keeps_anybody_out(browse: Callable[..., Page], host: Host, scheme: str, width: int) -> None:
    """axe finds nothing serious, no page is wider than the screen; while somebody writes, the preview follows."""
    made = host.templates.save(Template(None, "One", None, None, "en", "S", "B", preferred=True, automatic=True), by=ADMIN)
    page = browse(Role.ADMIN, color_scheme=scheme, viewport={"width": width, "height": 800})
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    found: dict[str, list[str]] = {}
    for url in ("/templates", "/templates/new", "/templates/deletion.accepted.de", f"/templates/{made.id}", "/settings", "/outbox"):
        page.goto(url)
        page.evaluate("for (const fold of document.querySelectorAll('main details')) fold.open = true")
        found[url] = findings(page)
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            found[url].append("wider than the screen")
    assert {url: rows for url, rows in found.items() if rows} == {}
    page.goto(f"/templates/{made.id}")
    page.locator("#f-body").fill("Dear {{ first_name }},\nyou are {{ wrong_name }}")
    page.locator(".excerpt-line.wrong").wait_for()
    assert "there is no 'wrong_name'" in page.locator("#preview").inner_text()
    assert findings(page) == []
    page.locator("#f-body").fill("Dear {{ first_name }}, it is done")
    page.get_by_text("Dear Ada, it is done").first.wait_for()
    page.get_by_role("button", name="Save").click()
    page.wait_for_url("**/templates")
    assert host.templates.get(str(made.id)).body == "Dear {{ first_name }}, it is done"
    assert complaints == []
