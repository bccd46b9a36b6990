"""Texts of replies: nothing but words comes out of a template, whoever wrote it, and there is one for everybody."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from dsr_sdk import Request, RequestType
from dsr_sdk.errors import ConflictError, RequestError
from dsr_sdk.host import Host
from dsr_sdk.host.answers.rendering import LISTS, MAX_OUTPUT, VARIABLES, Value, check, fill
from dsr_sdk.host.answers.templates import COPY_LINK, Template
from dsr_sdk.host.answers.wording import LANGUAGES, fallbacks, wording
from dsr_sdk.host.cases.workflow import Decision, Reason
from tests.world import World

BY = "alice@example.com"
OWN = Template(None, "Ours", "deletion", "rejected", "en", "About {{ case }}", "Dear {{ first_name }}: {{ reason }}")


def opened(world: World, **host: str) -> Host:
    world.tables = "[workflow]\n"
    if host:
        world._base = world._base.replace("[host]", "[host]\n" + "\n".join(f'{key} = "{value}"' for key, value in host.items()))
    return world.open()


def rejected(host: Host, *, reason: Reason = Reason.NO_MATCH, first: str = "Ada", **request: object) -> str:
    data = {"type": "deletion", "subject": {"email": "ada@example.com", "first_name": first, "last_name": "L"}, **request}
    case = host.submit(Request.parse(data))
    host.workflow.reject(case, reason, by=BY)
    return case


# --- what a template may be -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Hello\n{{ subject.__class__ }}", r"line 2: subject.__class__ is not allowed"),
        ("{{ first_name.__class__ }}", r"line 1: first_name.__class__ is not allowed"),
        ("{{ first_name.format }}", r"first_name.format is not allowed"),
        ("{{ ''.join }}", r".join is not allowed"),
        ("{{ first_name['__class__'] }}", r"\[...\] is not allowed"),
        ("{{ sources[0] }}", r"\[...\] is not allowed"),
        ("{{ first_name|attr('__class__') }}", r"there is no filter 'attr'"),
        ("{{ sources|map(attribute='x') }}", r"there is no filter 'map'"),
        ("{{ first_name|replace('a', 'aaaaaaaa') }}", r"there is no filter 'replace'"),
        ("{{ first_name is sameas(case) }}", r"there is no test 'sameas'"),
        ("{{ self._TemplateReference__context }}", r"is not allowed"),
        ("{{ cycler }}", r"there is no 'cycler'"),
        ("{{ lipsum(5) }}", r"calling 'lipsum' is not allowed"),
        ("{{ ().__class__.__bases__ }}", r"is not allowed"),
        ("a\nb\n{{ first_nam }}", r"line 3: there is no 'first_nam'; did you mean 'first_name'"),
        ("{% if nobody %}x{% endif %}", r"there is no 'nobody'"),
        ("{% for i in range(999999999) %}x{% endfor %}", r"a loop goes through sources or retained"),
        ("{% for i in first_name %}x{% endfor %}", r"a loop goes through"),
        ("{% for a in sources recursive %}{{ loop(sources) }}{% endfor %}", r"too many loops"),
        ("{% for a in sources %}" * 3 + "{% endfor %}" * 3, r"too many loops"),
        ("{% for a in sources %}{% endfor %}" * 21, r"too many loops"),
        ("{% for a in sources %}{{ loop.previtem }}{% endfor %}", r"loop.previtem is not allowed"),
        ("{% for a in sources %}{{ loop }}{% endfor %}", r"loop stands only before a dot"),
        ("{{ loop.index }}", r"loop.index is not allowed"),
        ("{{ 9**9**9 }}", r"pow is not allowed"),
        ("{{ 'x' * 999999999 }}", r"mul is not allowed"),
        ("{% set x = case %}{{ x ~ x }}", r"{% set %} is not allowed"),
        ("{% with x = case %}{{ x }}{% endwith %}", r"with is not allowed"),
        ("{% include 'deletion.txt.j2' %}", r"include is not allowed"),
        ("{% extends 'x' %}", r"extends is not allowed"),
        ("{% import 'os' as os %}", r"import is not allowed"),
        ("{% macro f() %}{{ f() }}{% endmacro %}", r"macro is not allowed"),
        ("{% block x %}{% endblock %}", r"block is not allowed"),
        ("{% filter upper %}x{% endfilter %}", r"filterblock is not allowed"),
        ("{% do x %}", r"line 1: Encountered unknown tag"),
        ("{{ first_name", r"line 1: unexpected end of template"),
        ("{{ " + "(" * 4000, r"nested too deeply"),
        ("{{ [" + "[" * 3000 + "]" * 3000 + "] }}", r"nested too deeply"),
        ("{{ '\\N{nothing}' }}", r"line 1"),
        ("x" * 20_001, r"longer than 20000"),
    ],
)
def test_only_words(text: str, said: str) -> None:
    """Attributes, calls, arithmetic, loops without end, other files, undefined names: refused by line, whatever the data."""
    with pytest.raises(RequestError, match=said) as caught:
        check(text, field="body", source="Ours")
    assert (caught.value.field, caught.value.source) == ("body", "Ours")


def test_what_a_template_can_do() -> None:
    """Names, conditions, lists with their loop, defaults, upper case: enough for a letter."""
    text = (
        "{% if first_name == 'Ada' and not last_name %}{{ first_name|upper }}{% else %}{{ last_name|default('you', true) }}{% endif %}\n"
        "{% for title, result in sources %}{{ loop.index }}/{{ loop.length }} {{ title }}: {{ result }}{{ '' if loop.last else ';' }} {% endfor %}\n"
        "{{ 'a' if type in ('x', 'y') else 'b' }}{{ case ~ '!' }}"
    )
    values: dict[str, Value] = dict.fromkeys((name for name in VARIABLES if name not in LISTS), "")
    filled = fill(
        check(text, field="body"),
        {**values, "first_name": "Ada", "type": "y", "case": "C", "sources": (("S", "r"), ("T", "q")), "retained": ()},
        field="body",
    )
    assert filled == "ADA1/2 S: r; 2/2 T: q aC!"


def test_output_is_bounded() -> None:
    """The most that the allowed forms can grow to ends at the limit, and not in memory."""
    text = "{% for a, b in sources %}{% for c, d in sources %}" + "{{ a }}{{ b }}" * 50 + "{% endfor %}{% endfor %}"
    with pytest.raises(RequestError, match=f"writes more than {MAX_OUTPUT}"):
        fill(check(text, field="body"), {"sources": [("x" * 9_999, "y")] * 10_000}, field="body")
    quiet = "{% for a, b in sources %}{% for c, d in sources %}{% if a == 'z' %}x{% endif %}{% endfor %}{% endfor %}" * 10
    assert fill(check(quiet, field="body"), {"sources": [("x", "y")] * 10_000}, field="body") == ""


@pytest.mark.parametrize("text", ["{% for a, b, c in sources %}{{ a }}{% endfor %}", "{% if sources < 'x' %}{% endif %}"])
def test_what_fails_while_filling_in(text: str) -> None:
    """An error of the template's names the line and never a value."""
    with pytest.raises(RequestError, match="line 2: cannot be carried out") as caught:
        fill(check("\n" + text, field="body"), {"sources": [("canary", "canary")]}, field="body")
    assert "canary" not in str(caught.value)


# --- what comes along -----------------------------------------------------------------------------------------------------------------


def test_there_is_a_text_for_everything(sqlite_world: World) -> None:
    """Every type, every decision, four languages; each can be filled in with everything and with nothing."""
    host = opened(sqlite_world)
    found = host.templates.list()
    assert len(found) == len(RequestType) * len(Decision) * len(LANGUAGES) == 80
    assert len({(t.type, t.decision, t.language, t.body) for t in found}) == 80
    for template in found:
        subject, body = host.templates.preview(template.subject, template.body, template.language)
        assert subject
        assert "\n" not in subject
        assert "{{" not in body
        assert host.templates.get(template.id or "") == template
    assert {t.language for t in host.templates.list("copy", "accepted")} == set(LANGUAGES)
    assert [t.id for t in host.templates.list("copy", "accepted", "fr")] == ["copy.accepted.fr"]


def test_languages_say_the_same() -> None:
    """The same words and names in every language: none was forgotten in translation."""

    def names(text: str) -> list[str]:
        return sorted(set(re.findall(r"{{ (\w+) }}", text)))

    english = wording("en")
    for language in LANGUAGES:
        words = wording(language)
        for attribute in ("types", "decisions", "reasons", "results", "remedies"):
            assert set(getattr(words, attribute)) == set(getattr(english, attribute))
        assert {key: names(" ".join(text)) for key, text in words.texts.items()} == {
            key: names(" ".join(text)) for key, text in english.texts.items()
        }
        assert {key: names(" ".join(text)) for key, text in words.mails.items()} == {
            key: names(" ".join(text)) for key, text in english.mails.items()
        }
    assert set(english.reasons) == {reason.value for reason in Reason}


@pytest.mark.parametrize("reason", list(Reason))
def test_a_refusal_says_why_and_what_can_be_done(sqlite_world: World, reason: Reason) -> None:
    """The reason in words, and under the GDPR the right to complain and to a judicial remedy (art. 12(4))."""
    host = opened(sqlite_world)
    case = rejected(host, reason=reason, regime="eu_gdpr")
    _, body = host.templates.render(host.templates.choose(case), case)
    assert wording("en").reasons[reason.value] in body
    assert "complaint with a data protection supervisory authority" in body
    assert "judicial remedy" in body
    assert case in body


@pytest.mark.parametrize(
    ("regime", "said"), [("uk_gdpr", "Information Commissioner"), ("us_va", "appeal"), ("br_lgpd", "complain"), (None, "complain"), ("us_ut", "")]
)
def test_other_laws_other_remedies(sqlite_world: World, regime: str | None, said: str) -> None:
    """Each law's own way; a law that knows none promises none."""
    host = opened(sqlite_world)
    case = rejected(host, regime=regime)
    _, body = host.templates.render(host.templates.choose(case), case)
    assert said in body
    assert ("complain" in body or "appeal" in body) == bool(said)


def test_a_name_is_a_name(sqlite_world: World) -> None:
    """A script tag or braces as a name stay what they are in a plain-text mail; a name is one line and no advertisement."""
    host = opened(sqlite_world)
    for name in ("<script>alert(1)</script>", "{{ 7*7 }}", "{% for %}"):
        case = rejected(host, first=name)
        _, body = host.templates.render(host.templates.choose(case), case)
        assert f"Dear {name} L," in body
    long = rejected(host, first="Buy " + "x" * 190)
    _, body = host.templates.render(host.templates.choose(long), long)
    assert "x" * 120 not in body
    own = host.templates.save(replace(OWN, subject="{{ first_name }}", preferred=True), by=BY)
    case = rejected(host, first="=?utf-8?q?x?=")
    assert host.templates.render(own, case)[0] == "= ?utf-8?q?x?="


def test_the_copy_link_is_not_made_for_looking(sqlite_world: World) -> None:
    """A mark stands where the link will be: looking at a reply makes no link."""
    host = opened(sqlite_world)
    case = host.submit(Request.parse({"type": "copy", "subject": {"email": "ada@example.com"}}))
    host.workflow.accept(case, by=BY)
    _, body = host.templates.render(host.templates.choose(case), case)
    assert COPY_LINK in body
    assert not any(event["event"] == "link.made" for event in host.history(case))


# --- languages ------------------------------------------------------------------------------------------------------------------------


def test_languages_fall_back() -> None:
    """The one asked for, without its parts, the host's, English; each once."""
    assert fallbacks("de-AT", "fr-CA") == ("de-at", "de", "fr-ca", "fr", "en")
    assert fallbacks("zh-Hant-TW", "en") == ("zh-hant-tw", "zh-hant", "zh", "en")
    assert fallbacks("EN-us", "en-GB") == ("en-us", "en", "en-gb")


@pytest.mark.parametrize(("asked", "own", "got"), [("de-AT", "en", "de"), ("pt-BR", "es", "es"), ("ja", "xx", "en"), ("fr", "de", "fr")])
def test_a_language_without_a_template(sqlite_world: World, asked: str, own: str, got: str) -> None:
    """The nearest there is, and it is known what was asked for."""
    host = opened(sqlite_world, language=own)
    chosen = host.templates.chosen(rejected(host, language=asked))
    assert (chosen.template.language, chosen.asked) == (got, asked)


def test_the_hosts_own_text_in_a_language_of_its_own(sqlite_world: World) -> None:
    """A preferred template counts before what comes along, in its language only; the most particular one wins."""
    host = opened(sqlite_world)
    anything = host.templates.save(replace(OWN, name="All", type=None, decision=None, language="pt-BR", preferred=True), by=BY)
    assert anything.language == "pt-br"
    exact = host.templates.save(replace(OWN, name="This", language="pt-br", preferred=True), by=BY)
    host.templates.save(replace(OWN, name="Not preferred", language="en"), by=BY)
    assert host.templates.choose(rejected(host, language="pt-BR")).id == exact.id
    assert host.templates.choose(rejected(host, language="pt-BR", type="do_not_mail")).id == anything.id
    assert host.templates.choose(rejected(host, language="pt")).id == "deletion.rejected.en"
    assert host.templates.choose(rejected(host)).id == "deletion.rejected.en"


# --- keeping them ---------------------------------------------------------------------------------------------------------------------


def test_saving(world: World) -> None:
    """What comes along becomes one's own when it is saved; of two who save the same one the second is told; archived is gone."""
    host = opened(world)
    first = host.templates.save(replace(host.templates.get("copy.accepted.en"), subject="Your copy"), by=BY)
    assert (first.builtin, first.revision, host.templates.get(first.id or "")) == (False, 0, first)
    assert host.templates.get("copy.accepted.en").subject != "Your copy"
    second = host.templates.save(replace(first, subject="Yours"), by="bob@example.com")
    assert second.revision == 1
    with pytest.raises(ConflictError, match="someone else"):
        host.templates.save(replace(first, subject="Mine"), by=BY)
    host.templates.archive(first.id or "", by=BY)
    assert not [t for t in host.templates.list() if not t.builtin]
    for id_ in (first.id or "", "copy.accepted.en"):
        with pytest.raises(RequestError, match="no such template of your own"):
            host.templates.archive(id_, by=BY)
    with pytest.raises(RequestError, match="no such template"):
        host.templates.get(first.id or "")
    for id_ in ("", "x", "-1", "9" * 30, "²"):
        with pytest.raises(RequestError, match="no such template"):
            host.templates.get(id_)


def test_one_is_preferred(world: World) -> None:
    """A newer preferred template takes the older one's place."""
    host = opened(world)
    old = host.templates.save(replace(OWN, preferred=True, automatic=True), by=BY)
    new = host.templates.save(replace(OWN, name="Newer", preferred=True), by=BY)
    assert host.templates.choose(rejected(host)).id == new.id
    again = host.templates.get(old.id or "")
    assert (again.preferred, again.automatic) == (False, False)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("subject", ""),
        ("body", " \n"),
        ("body", "{{ nobody }}"),
        ("body", "{% for a, b, c in sources %}{% endfor %}"),
        ("subject", "{{ case.x }}"),
        ("name", ""),
        ("name", "a\nb"),
        ("language", "english!"),
        ("type", "erasure"),
        ("decision", "maybe"),
        ("automatic", True),
    ],
)
def test_what_cannot_be_saved(sqlite_world: World, field: str, value: str | bool) -> None:
    """A template that would fail for somebody fails when it is saved, and says where."""
    host = opened(sqlite_world)
    with pytest.raises(RequestError) as caught:
        host.templates.save(replace(OWN, **{field: value}), by=BY)  # type: ignore[arg-type]  # the field decides which
    assert caught.value.field == field
    assert not [t for t in host.templates.list() if not t.builtin]


def test_a_preview(sqlite_world: World) -> None:
    """Sample values in the template's language, without any case."""
    host = opened(sqlite_world)
    subject, body = host.templates.preview("{{ type }}", "{{ full_name }}, {{ received_on }}", "de-CH")
    assert (subject, body) == (wording("de").types["deletion"], "Ada Lovelace, 2. März 2026\n")
    with pytest.raises(RequestError, match="did you mean 'case'"):
        host.templates.preview("x", "{{ cas }}", "en")


def test_nothing_is_decided(sqlite_world: World) -> None:
    """In review there is nothing to reply yet."""
    host = opened(sqlite_world)
    case = host.submit(Request.parse({"type": "copy", "subject": {"email": "ada@example.com"}}))
    with pytest.raises(ConflictError, match="nothing is decided"):
        host.templates.choose(case)
