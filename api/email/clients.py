"""Clients: who fetches a mail's picture or follows its link: a person, a proxy, a scanner, or nobody can tell.

Pure. A proxy fetches for a person, who sees what it got, sooner or later or never; a scanner only looks for danger.
Patterns are data, each with where it is described. None is proof: what matters follows from the order, which errs
towards "not a person": a person who is missed answers anyway, a machine that is taken for one spends limits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from decisioning.opening import PERSON, PROXY, SCANNER, UNKNOWN, ClientClass

HASTE_MS = 5_000  # a mail opened or a link followed sooner after its token was made was so by no person
HEADER_MAX = 512  # characters; no program of those that are known says more of itself
LINKS_MAX = 3  # so many different mails' links followed by one address within a few seconds
Form = Literal["image", "html", "json", "amp", "click"]

# Fetch pictures for persons. The user agent as a whole, or a part of it.
PROXIES: tuple[tuple[str, re.Pattern[str]], ...] = (
    # "… (via ggpht.com GoogleImageProxy)": Word to the Wise, "Gmail image caching" (2014)
    ("gmail", re.compile(r"GoogleImageProxy|ggpht\.com", re.I)),
    # Gmail prefetching while a session is open: SparkPost/Bird, "Gmail prefetching images" (2021)
    ("gmail", re.compile(r"Chrome/42\.0\.2311\.135 Safari/537\.36 Edge/12\.246 Mozilla/5\.0$")),
    # "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html", which explains itself
    ("yahoo", re.compile(r"YahooMailProxy", re.I)),
    # Apple Mail Privacy Protection sends nothing else: Mailgun, "Bot detection" (2022)
    ("apple", re.compile(r"^Mozilla/5\.0$")),
)

# Look for danger. In the user agent; the names come from the vendors' own documents of the rewritten links below and
# from "Bot clicks from security scanners", live-direct-marketing.online.
SCANNERS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("microsoft", re.compile(r"SafeLinks|BingPreview|SkypeUriPreview|Microsoft-URLAnalyzer|Microsoft-CryptoAPI", re.I)),
    ("barracuda", re.compile(r"Barracuda", re.I)),
    ("proofpoint", re.compile(r"proofpoint|urldefense", re.I)),
    ("mimecast", re.compile(r"Mimecast", re.I)),
    ("cisco", re.compile(r"Cisco ?Secure|IronPort|iphmx", re.I)),
    (
        "others",
        re.compile(r"TrendMicro|TMES|Symantec|Sophos|FireEye|FortiMail|FortiGuard|Kaspersky|F-Secure|Zix", re.I),
    ),
    # Programs that name themselves: no reader of mail does.
    ("program", re.compile(r"\bbot\b|bot/|crawler|spider|slurp|curl/|wget|python|okhttp|Go-http-client|libwww", re.I)),
)

# Hosts of services that rewrite links and look before the person does. In Referer, Origin, Via and X-Forwarded-Host:
# safelinks.protection.outlook.com (Microsoft Learn, "Safe Links"), linkprotect.cudasvc.com (Barracuda Campus, "Link
# Protection"), urldefense (Proofpoint, "URL Defense"), protect-*.mimecast.com (Mimecast, "URL Protect"),
# secure-web.cisco.com (Cisco, "Outbreak Filters").
SCANNER_HOSTS = re.compile(
    r"protection\.outlook\.com|linkprotect\.cudasvc\.com|urldefense\.(proofpoint\.)?com|pphosted\.com|ppe-hosted\.com"
    r"|mimecast(protect)?\.com|secure-web\.cisco\.com|iphmx\.com",
    re.I,
)
HOST_HEADERS = ("referer", "origin", "via", "x-forwarded-host")

# Programs in which persons read mail: Outlook and its Word engine, Thunderbird, Apple Mail, and browsers for web mail.
# The strings are those of MDN, "User-Agent", and of Litmus' list of mail clients.
READERS = re.compile(
    r"ms-office|MSOffice|Microsoft Outlook|Outlook-(iOS|Android)|Thunderbird/"
    r"|AppleWebKit/[\d.]+ \(KHTML, like Gecko\)( Mobile/\w+)?$|(Chrome|Firefox|Version|Edg|OPR|SamsungBrowser)/\d",
    re.I,
)
BROWSERS = re.compile(r"(Chrome|Firefox|Version|Edg|OPR|SamsungBrowser)/\d", re.I)


@dataclass(frozen=True, slots=True)
class Fetch:
    """What a request tells about who makes it."""

    form: Form
    method: str
    headers: Mapping[str, str] = field(default_factory=dict)  # names in lower case
    age_ms: int | None = None  # of the token; a mail is sent after it was made
    links_followed: int = 0  # of different mails, by this address within a few seconds, this one among them

    def header(self, name: str) -> str:
        """The beginning of a header's value, as much as patterns look at; empty without one."""
        return self.headers.get(name, "")[:HEADER_MAX]


def client_class_of(fetch: Fetch) -> ClientClass:
    """Who is fetching."""
    user_agent = fetch.header("user-agent").strip()
    if fetch.method == "HEAD" or _is_scanner(fetch, user_agent):
        return SCANNER
    if fetch.form == "amp" or any(pattern.search(user_agent) for _, pattern in PROXIES):
        return (
            PROXY if fetch.form != "click" else UNKNOWN
        )  # mail services fetch AMP themselves, for whoever has it open
    if fetch.form == "click" and _is_hasty(fetch, user_agent):
        return SCANNER
    if fetch.form in ("html", "json") or fetch.method == "POST":
        return UNKNOWN  # fetched by the sending platform, long before anybody reads
    if fetch.form == "image" and (_is_early(fetch) or fetch.links_followed >= LINKS_MAX):
        return UNKNOWN  # who looks at a mail hardly delivered, or where many links are followed, may look for danger
    if BROWSERS.search(user_agent) and not fetch.header("accept-language"):
        return UNKNOWN  # every browser states its person's languages; what only calls itself one does not
    return PERSON if READERS.search(user_agent) else UNKNOWN


def _is_scanner(fetch: Fetch, user_agent: str) -> bool:
    if "prefetch" in fetch.header("sec-purpose") + fetch.header("purpose"):
        return True
    if any(SCANNER_HOSTS.search(fetch.header(name)) for name in HOST_HEADERS):
        return fetch.header("sec-fetch-user") != "?1"  # a person who comes through the service's page has clicked there
    if fetch.form in ("html", "json"):
        return False  # platforms that send mail call themselves what they like
    return any(pattern.search(user_agent) for _, pattern in SCANNERS)


def _is_hasty(fetch: Fetch, user_agent: str) -> bool:
    """True for a link followed as no person would: too soon, with many others, by a browser without a language."""
    if fetch.header("sec-fetch-user") == "?1":  # a browser says that somebody clicked
        return False
    if _is_early(fetch) or fetch.links_followed >= LINKS_MAX:
        return True
    return bool(BROWSERS.search(user_agent)) and not fetch.header("accept-language")


def _is_early(fetch: Fetch) -> bool:
    return fetch.age_ms is not None and fetch.age_ms < HASTE_MS
