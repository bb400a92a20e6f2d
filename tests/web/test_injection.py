"""Payloads of every kind, as names of customers: on the page they are words."""

from __future__ import annotations

import pytest

from tests.web.conftest import Site
from tests.web.test_browser import SETTLED, know, until, visit

RUN = "pwned()"
PAYLOADS = [
    *(f"<{tag}>{RUN}</{tag}>" for tag in ("script", "SCRIPT", "scr<script>ipt", "svg/script", "math><script")),
    *(
        f"<script {each}>{RUN}</script>"
        for each in ("async", "defer", "type=module", "src=data:text/javascript,pwned()")
    ),
    *(f"<{tag} {on}={RUN}>" for tag, on in (("img src=x", "onerror"), ("svg", "onload"), ("body", "onload"))),
    *(f"<{tag} {on}={RUN}>" for tag, on in (("video src=x", "onerror"), ("audio src=x", "onerror"), ("a", "onclick"))),
    *(f"<{tag} {on}={RUN}>x" for tag, on in (("details open", "ontoggle"), ("marquee", "onstart"), ("div", "onclick"))),
    *(
        f"<{tag} {on}={RUN} autofocus>"
        for tag, on in (("input", "onfocus"), ("select", "onfocus"), ("a href", "onfocus"))
    ),
    *(
        f"{quote}><img src=x onerror={RUN}>"
        for quote in ("'", '"', "`", "-->", "]]", "</b", "</h1", "</title", "</style")
    ),
    *(f"{quote} onmouseover={RUN} {quote}" for quote in ("'", '"', "`", "\\'", '\\"')),
    *(f"<a href={scheme}{RUN}>x</a>" for scheme in ("javascript:", "JaVaScRiPt:", "java\tscript:", "data:text/html,")),
    *(f"{scheme}{RUN}" for scheme in ("javascript:", "vbscript:", "data:text/html,<script>", "\x01javascript:")),
    *(f"<iframe {each}></iframe>" for each in (f"src=javascript:{RUN}", f'srcdoc="<script>{RUN}</script>"')),
    f"<object data=javascript:{RUN}></object>",
    f"<embed src=javascript:{RUN}>",
    f"<meta http-equiv=refresh content='0;url=javascript:{RUN}'>",
    f"<form action=javascript:{RUN}><button>x</button></form>",
    f"<svg><animate onbegin={RUN} attributeName=x dur=1s>",
    f"<svg><a xlink:href=javascript:{RUN}><text>x</text></a></svg>",
    f"<math><mtext><table><mglyph><style><img src=x onerror={RUN}>",
    f"<template><script>{RUN}</script></template>",
    f"<noscript><p title='</noscript><img src=x onerror={RUN}>'>",
    f"<base href=javascript:{RUN}//>",
    "<link rel=stylesheet href=https://evil.example/x.css>",
    "<style>*{display:none}</style>",
    "{{constructor.constructor('pwned()')()}}",
    "${pwned()}",
    "#{pwned()}",
    "<%= pwned() %>",
    "{% raw %}{{ customer.first_name }}",
    "&lt;script&gt;pwned()&lt;/script&gt;",
    "&#60;script&#62;pwned()&#60;/script&#62;",
    "%3Cscript%3Epwned()%3C/script%3E",
    "\\u003cscript\\u003epwned()",
    "+ADw-script+AD4-pwned()",
    "../../../../etc/passwd",
    "?nextbest=x&url=https://evil.example/#",
    "//evil.example/",
    "\u202egnp.exe",
    "<img src=x onerror=alert(1)//",
]
FIELDS = "<h1 data-nextbest-field=headline></h1><div data-nextbest-field=body></div>"
CARD = f"<section data-nextbest=web.hero>{FIELDS}<a data-nextbest-field=cta href=/own>Own</a></section>"


def test_the_payloads_are_as_many_as_promised():
    assert len(set(PAYLOADS)) >= 60


@pytest.mark.parametrize("part", range(4))
def test_a_payload_in_a_profile_reaches_the_page_as_words(tab, site: Site, desk, part):
    tab.add_init_script("window.pwned = () => { window.hit = true; };")
    for at, payload in enumerate(PAYLOADS[part::4]):
        token = know(site, f"C-{part}-{at}", first_name=payload)
        visit(tab, site, body=CARD, script=f'data-token="{token}"')
        until(tab, SETTLED)

        shown = tab.evaluate(
            "() => { const card = document.querySelector('section');"
            " const inside = [...card.querySelectorAll('*')].map((node) => node.tagName).join(' ');"
            " return [card.querySelector('h1').textContent, card.querySelector('b').textContent, inside,"
            " card.querySelector('a[data-nextbest-field]').href, window.hit]; }"
        )
        assert tab.evaluate("window.told") == [["shown", "web.hero"]], payload
        assert shown[0] == f"Gold, {payload}"
        assert shown[1] == payload
        assert shown[2] == "H1 DIV P B A A"
        assert shown[3].startswith("https://bank.example/cards?for=")
        assert shown[4] is None
