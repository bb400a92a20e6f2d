"""Explanations on the wire: personal values are masked in a decision's answer and shown to an admin."""

from __future__ import annotations

from tests.api.desk import Desk
from tests.decisioning.bank import GOLD


async def test_personal_values_are_masked_in_an_answer_and_shown_to_an_admin():
    desk = Desk()
    await desk.know(age=17)

    answer = await desk.ask(explain=True)
    explained = (await desk.http.get(f"/v1/decisions/{answer['decision_id']}")).json()

    masked, shown = (
        next(each for each in entries if each["action"] == GOLD)
        for entries in (answer["explanation"], explained["candidates"])
    )
    assert masked["values"] == {"customer.age": "masked"}
    assert shown["values"] == {"customer.age": 17}
    assert masked | {"values": {}} == shown | {"values": {}}
