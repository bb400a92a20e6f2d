"""A new channel is text: no line of code knows its name."""

from __future__ import annotations

from tests.decisioning.bank import FILES, GOLD, ask, customer, later, shown, strategy

KIOSK = {
    "channels.yaml": FILES["channels.yaml"] + "kiosk: {direction: inbound, lease_minutes: 10, contact_cost: 0.0}\n",
    "placements.yaml": FILES["placements.yaml"]
    + "kiosk.screen:\n"
    + "  {channel: kiosk, nothing_value: 0.1, fields: {title: {type: text, required: true}}, fallback: kiosk_brand}\n",
    "consents.yaml": FILES["consents.yaml"] + "kiosk: {marketing: {absent: granted, basis: legitimate_interest}}\n",
    "content/blocks.yaml": FILES["content/blocks.yaml"] + 'kiosk_brand: {title: "Welcome"}\n',
    "actions/cards.yaml": FILES["actions/cards.yaml"].replace(
        '      email: {placements: [email.hero], content: {headline: "Gold"}}',
        '      email: {placements: [email.hero], content: {headline: "Gold"}}\n'
        "      kiosk: {placements: [kiosk.screen], content: {title: \"Gold for {{ customer.tier | 'you' }}\"}}",
    ),
}


def test_a_kiosk_added_as_text_shows_its_content_and_shares_the_lease():
    bank = strategy(KIOSK)

    at_kiosk = ask(bank, customer(), "kiosk.screen")
    assert shown(at_kiosk) == [("offer", GOLD)]
    assert at_kiosk.placements[0].content == {"title": "Gold for classic"}

    in_mail = ask(bank, later(customer(), at_kiosk), "email.hero", decision_id="d2")
    assert in_mail.placements[0].lease_of == "d1"
