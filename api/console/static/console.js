// The console's keys, what keeps an open screen steady, and the buttons that copy. Keys: [data-key] names one, /, a, r, l, w or ?.
// A button is pressed, a field gets the focus. They work while no field has the focus, on pages with the switch that turns them
// off, which this browser remembers.
(() => {
  "use strict";
  const FIELDS = "input, select, textarea, [contenteditable]";
  const REMEMBERED = "nextbest-keys";
  const STEADY_MS = 1000; // whoever presses sooner after a change meant what stood there before
  const box = document.getElementById("keys-on");
  let changedMs = -STEADY_MS;

  const isOn = () => {
    if (!box) return false;
    try { return localStorage.getItem(REMEMBERED) !== "off"; } catch { return true; }
  };

  document.addEventListener("keydown", (event) => {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || !isOn()) return;
    if (event.key === "Enter" && event.target.matches("select[name=reason]")) {
      event.preventDefault();
      event.target.parentElement.querySelector("[data-answers-select]").click();
      return;
    }
    if (event.target.matches(FIELDS)) {
      if (event.key === "Escape") event.target.blur();
      if (event.key === "/" && event.target.matches("[data-key='/']")) { // no id has one: whoever presses it is here already
        event.preventDefault();
        event.target.select();
      }
      return;
    }
    const target = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
    if (!target) return;
    event.preventDefault();
    if (!target.matches(FIELDS)) target.click();
    else {
      target.focus();
      if (target.select) target.select();
    }
  });

  const isAnswering = () => document.activeElement.closest(".answers")
    || [...document.querySelectorAll(".answers select")].some((each) => each.value);

  // While somebody answers, a change elsewhere is told and waits.
  document.addEventListener("htmx:beforeRequest", (event) => {
    const form = event.target;
    if (form.matches(".answers") && performance.now() - changedMs < STEADY_MS) event.preventDefault();
    if (form.id !== "changed" || event.detail.requestConfig.triggeringEvent.type === "submit" || !isAnswering()) return;
    event.preventDefault();
    form.hidden = false;
  });

  // A change elsewhere takes away neither what was noted here nor the place of whoever was on the screen.
  let before = {};
  document.addEventListener("htmx:beforeSwap", ({detail: {target, requestConfig}}) => {
    const isOfElsewhere = target.id === "screen" && requestConfig.elt.id === "changed";
    before = isOfElsewhere
      ? {noted: target.querySelector(".notice.good"), hadFocus: target.contains(document.activeElement)}
      : {};
  });

  // Whoever searched or answered goes on from the result; others are told what it is and keep their place.
  document.addEventListener("htmx:afterSettle", (event) => {
    const {target, requestConfig: {elt: asker}} = event.detail;
    if (target.id !== "screen" || !asker.matches("form")) return;
    const result = target.querySelector("[tabindex='-1']");
    if (asker.matches(".find")) document.title = `${asker.elements.customer.value} · Nextbest`;
    else changedMs = performance.now();
    document.getElementById("said").textContent = result ? result.textContent : "";
    const typing = document.activeElement.matches(FIELDS) && !asker.contains(document.activeElement);
    if (result && !typing && (asker.id !== "changed" || before.hadFocus)) result.focus();
    const advice = target.querySelector(".advice");
    if (before.noted && advice) {
      before.noted.removeAttribute("role"); // it was said once
      advice.prepend(before.noted);
    }
  });

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(button.previousElementSibling.textContent);
    button.textContent = "Copied";
  });

  if (box) {
    box.checked = isOn();
    box.addEventListener("change", () => {
      try { localStorage.setItem(REMEMBERED, box.checked ? "on" : "off"); } catch { /* private window */ }
    });
  }
})();
