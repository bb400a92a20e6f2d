// The demo: links of placements lead to the page that stands in for the bank's, and open pages notice what the customer
// answered elsewhere. The snippet itself needs nothing of this.
(() => {
  "use strict";
  const EVERY_MS = 1500;
  let version = document.getElementById("demo").dataset.version;

  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-nextbest] a[href]");
    if (!link || new URL(link.href).origin === location.origin) return;
    event.preventDefault();
    location.assign(`/demo/product?to=${encodeURIComponent(link.href)}`);
  });

  const look = async () => {
    if (document.visibilityState !== "visible") return;
    const answer = await fetch("/demo/pulse");
    if (!answer.ok) return;
    const now = String((await answer.json()).version);
    if (now === version) return;
    version = now;
    if (window.nextbest) window.nextbest.refresh();
    for (const image of document.querySelectorAll("img.fetched")) image.src = `${image.dataset.src}?${now}`;
  };

  setInterval(() => look().catch(() => undefined), EVERY_MS);
})();
