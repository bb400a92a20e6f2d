// The console's keys, and the buttons that copy. Keys: [data-key] names one, /, a, r, l, w or ?. A button is pressed, a field gets the focus. They work
// while no field has the focus, and not at all once they are switched off, which this browser remembers.
(() => {
  "use strict";
  const FIELDS = "input, select, textarea, [contenteditable]";
  const REMEMBERED = "nextbest-keys";

  const isOn = () => {
    try { return localStorage.getItem(REMEMBERED) !== "off"; } catch { return true; }
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !isOn()) return;
    if (event.key === "Enter" && event.target.matches("select[name=reason]")) {
      event.preventDefault();
      event.target.parentElement.querySelector("[data-answers-select]").click();
      return;
    }
    if (event.target.matches(FIELDS)) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const target = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
    if (!target) return;
    event.preventDefault();
    if (target.matches(FIELDS)) target.focus(); else target.click();
  });

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(button.previousElementSibling.textContent);
    button.textContent = "Copied";
  });

  const box = document.getElementById("keys-on");
  if (box) {
    box.checked = isOn();
    box.addEventListener("change", () => {
      try { localStorage.setItem(REMEMBERED, box.checked ? "on" : "off"); } catch { /* private window */ }
    });
  }
})();
