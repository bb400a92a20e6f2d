// The snippet: fills a page's placements with what Nextbest decides. docs/web.md explains it to authors.
//
// The author's own content is the starting point and the way back: it stays until an answer is there, when the answer
// is late, when it is "nothing", and whenever anything here fails. Nothing is thrown into the page, nothing is written as
// inline script or style, and no value of an answer is ever parsed as a page. Lines that are comments and indentation are
// removed when this file is served, so both are free, and no string may run over two lines.
(() => {
  "use strict";
  const queued = window.nextbest;
  if (queued && queued.refresh) return;
  const { src, dataset: told } = document.currentScript;
  const base = new URL(".", src).href;
  const deadline = Number(told.deadline) || 800;
  const KEY = "nextbest";
  const MARKUP = /^(A|B|BR|DIV|EM|H[1-6]|I|LI|OL|P|S|SMALL|SPAN|STRONG|SU[BP]|U|UL)$/;
  const FIELD = "[data-nextbest-field]";
  const CHANGED = ["href", "src", "srcset", "alt"];

  // What is shown: element -> {token, sent, says, before}; before: what its nodes were when the author wrote them.
  const shown = new Map();
  let asked = new WeakMap();
  let context = {};
  let known = told.token;
  let visitor = null;
  let permitted = false;
  let waiting = null;

  const safely = (work) => (...args) => {
    try {
      const result = work(...args);
      return result && result.catch ? result.catch(() => {}) : result;
    } catch {}
  };
  const announce = (el, what, detail) => el.dispatchEvent(new CustomEvent("nextbest:" + what, { bubbles: true, detail }));

  // ---- The service. Bodies are text, which browsers send to other sites without asking them first.

  const post = (path, body, signal) =>
    fetch(base + path, { method: "POST", body: JSON.stringify(body), signal, credentials: "omit", keepalive: true });

  const read = async (answer) => {
    const body = await answer.json();
    if (!answer.ok) throw Error(body.message);
    return body;
  };

  const ask = async (path, body, signal) => {
    let answer = await post(path, { ...body, visitor_token: await token() }, signal);
    if (answer.status === 401) answer = await post(path, { ...body, visitor_token: await token(true) }, signal);
    return read(answer);
  };

  const within = (work) => {
    const signal = AbortSignal.timeout(deadline);
    const late = new Promise((_, refuse) => (signal.onabort = () => refuse(Error("late"))));
    return Promise.race([work(signal), late]);
  };

  // ---- Who is asking: whom the site's server named, else somebody new, remembered only with permission.

  const token = (renew) => (waiting = waiting || found(renew).finally(() => (waiting = null)));

  const found = async (renew) => {
    if (told.tokenUrl && (renew || !known)) {
      const answer = await fetch(told.tokenUrl, { credentials: "same-origin" });
      if (!answer.ok) throw Error("no token");
      known = (await answer.text()).trim();
    } else if (known && renew) {
      throw Error("expired");
    }
    if (known) return known;
    // Two tabs that open at once would become two people: whoever is second finds what the first has stored.
    return navigator.locks ? navigator.locks.request(KEY, () => anonymous(renew)) : anonymous(renew);
  };

  const anonymous = async (renew) => {
    const kept = remembered();
    permitted = permitted || !!kept;
    visitor = kept || visitor;
    if (!visitor || renew) {
      visitor = await read(await post("web/visitors", visitor ? { visitor_id: visitor.visitor_id } : {}));
      remember();
    }
    return visitor.visitor_token;
  };

  const remembered = safely(() => JSON.parse(localStorage.getItem(KEY)));

  const remember = safely(() => {
    if (permitted && visitor) localStorage.setItem(KEY, JSON.stringify(visitor));
  });

  // ---- Filling: everything is prepared first, then a placement changes at once.

  const address = (text) => {
    const { href, protocol } = new URL(text, base);
    const allowed = ["https:", "mailto:", "tel:", told.scheme, location.protocol];
    if (!allowed.includes(protocol)) throw Error("address");
    return href;
  };

  // Markup is copied node by node from a document that runs nothing; anything that is not on the list keeps all of it out.
  const copied = (from) =>
    [...from.childNodes].map((node) => {
      if (node.nodeType === 3) return node.data;
      if (!MARKUP.test(node.tagName)) throw Error("markup");
      const copy = document.createElement(node.tagName);
      for (const name of ["class", "title"]) write(copy, name, node.getAttribute(name));
      if (node.hasAttribute("href")) copy.href = address(node.getAttribute("href"));
      copy.append(...copied(node));
      return copy;
    });

  const item = (text) => {
    const item = document.createElement("li");
    item.append(text);
    return item;
  };

  const picture = async (node, url, alt) => {
    const image = new Image();
    image.src = address(url);
    await image.decode();
    return () => {
      const sources = node.parentNode.tagName === "PICTURE" ? node.parentNode.children : [];
      for (const each of [node, ...sources]) write(each, "srcset");
      write(node, "alt", alt || "");
      write(node, "src", image.src);
    };
  };

  // The change of one field, to be called when those of all fields are ready.
  const change = async (node, { content, types }) => {
    const name = node.dataset.nextbestField;
    const value = content[name];
    if (!value || !types[name]) return () => (node.style.visibility = "hidden");
    switch (types[name]) {
      case "image":
        return picture(node, value, content[name + "_alt"]);
      case "html": {
        const nodes = copied(new DOMParser().parseFromString(value, "text/html").body);
        return () => node.replaceChildren(...nodes);
      }
      case "texts":
        return () => node.replaceChildren(...(/^[UO]L$/.test(node.tagName) ? value.map(item) : [value.join(" ")]));
      case "url":
      case "link": {
        const url = address(value.url || value);
        const label = node.querySelector("[data-nextbest-label]") || (node.childElementCount ? 0 : node);
        return () => {
          if (node.tagName === "A") write(node, "href", url);
          if (label && value.label) label.textContent = value.label;
        };
      }
      default:
        return () => (node.textContent = value);
    }
  };

  const nodesOf = (el, marks) => [el, ...el.querySelectorAll("*")].filter((node) => node.matches(marks));

  // Its children are taken out of the layout and put back, so that they count as new and not as moved, and the box keeps
  // its height: what stands around it does not move either. A box that got too small for people to see all is scrolled.
  const swap = (el, work) => {
    const focused = document.activeElement;
    const { bottom } = el.getBoundingClientRect();
    const { height } = getComputedStyle(el);
    const children = [...el.children].map((child) => [child, child.style.display]);
    loosen(el);
    el.style.height = height;
    for (const [child] of children) child.style.setProperty("display", "none", "important");
    void el.offsetHeight;
    work();
    for (const [child, display] of children) child.style.display = display;
    el.style.height = "";
    el.style.minHeight = height;
    if (parseFloat(getComputedStyle(el).height) > parseFloat(height) + 1 && bottom < innerHeight) {
      el.style.height = height;
      el.style.overflow = "auto";
    }
    if (focused) focused.focus({ preventScroll: true });
  };

  const loosen = (el) => (el.style.height = el.style.minHeight = el.style.overflow = "");

  const restore = (el) => {
    if (!shown.has(el)) return;
    swap(el, () => {
      for (const [node, children, values] of shown.get(el).before) {
        node.replaceChildren(...children);
        CHANGED.forEach((name, at) => write(node, name, values[at]));
        node.style.visibility = "";
      }
    });
    shown.delete(el);
    sight.unobserve(el);
  };

  const write = (node, name, value) => (value == null ? node.removeAttribute(name) : node.setAttribute(name, value));

  const show = async (el, placed, signal) => {
    if (!placed || placed.outcome === "nothing") {
      restore(el);
      throw Error("nothing");
    }
    const fields = nodesOf(el, FIELD);
    const changes = await Promise.all(fields.map((node) => change(node, placed)));
    if (signal.aborted) throw Error("late");
    const before = (shown.get(el) || {}).before || nodesOf(el, FIELD + ",[data-nextbest-label],source").map(noted);
    swap(el, () => {
      for (const node of fields) node.style.visibility = "";
      for (const each of changes) each();
    });
    watch(el, placed.event_token, before, JSON.stringify(placed.content));
    announce(el, "shown", placed);
  };

  const noted = (node) => [node, [...node.childNodes], CHANGED.map((name) => node.getAttribute(name))];

  const fill = async (elements) => {
    const names = [...new Set(elements.map((el) => el.dataset.nextbest))];
    const open = new Set(elements);
    const keep = (el, error) => open.delete(el) && announce(el, "kept", { why: error.message });
    try {
      await within(async (signal) => {
        const answer = await ask("web/decisions", { placements: names, context }, signal);
        if (answer.fallback) throw Error("trouble");
        const fillOne = async (el) => {
          const at = answer.placements.findIndex((each) => each.placement === el.dataset.nextbest);
          try {
            await show(el, answer.placements.splice(at, at < 0 ? 0 : 1)[0], signal);
            open.delete(el);
          } catch (error) {
            keep(el, error);
          }
        };
        await Promise.all(elements.map(fillOne));
      });
    } catch (error) {
      for (const el of open) keep(el, error);
    }
  };

  const scan = safely(() => {
    const elements = [...document.querySelectorAll("[data-nextbest]")];
    const fresh = elements.filter((el) => el.dataset.nextbest && asked.get(el) !== el.dataset.nextbest);
    for (const el of fresh) asked.set(el, el.dataset.nextbest);
    for (const el of shown.keys()) if (!el.isConnected) shown.delete(el);
    return fresh.length ? fill(fresh) : Promise.resolve();
  });

  const refresh = () => {
    asked = new WeakMap();
    return scan();
  };

  // ---- What people do: half of it in sight for a second on a visible page, clicks, answers.

  const tell = safely((responses) => {
    const body = { responses, visitor_token: known || visitor.visitor_token };
    return navigator.sendBeacon(base + "web/responses", JSON.stringify(body)) || post("web/responses", body);
  });

  // says: what it shows. Where that stays the same when it is decided anew, nobody has seen or clicked it a second time.
  const watch = (el, token, before = [], says) => {
    const old = shown.get(el) || {};
    clearTimeout(old.timer);
    shown.set(el, { token, before, says, sent: says && says === old.says ? old.sent : new Set() });
    sight.unobserve(el);
    sight.observe(el);
  };

  const pace = (el) => {
    const it = shown.get(el);
    if (!it) return;
    clearTimeout(it.timer);
    if (!it.isInSight || document.visibilityState !== "visible" || it.sent.has("impression") || !it.token) return;
    it.timer = setTimeout(() => {
      it.sent.add("impression");
      tell([{ event_token: it.token, outcome: "impression" }]);
    }, 1000);
  };

  const sight = new IntersectionObserver(
    safely((entries) => {
      for (const { target, intersectionRatio } of entries) {
        if (shown.has(target)) shown.get(target).isInSight = intersectionRatio >= 0.5;
        pace(target);
      }
    }),
    { threshold: [0, 0.5] },
  );

  const clicked = safely((event) => {
    if (!event.isTrusted || event.button > 1) return;
    const hit = event.target.closest("a,button,[data-nextbest-outcome]");
    let el = hit;
    while (el && !shown.has(el)) el = el.parentElement;
    const it = shown.get(el);
    const answer = hit && hit.dataset.nextbestOutcome;
    const outcome = answer || "clicked";
    if (!it || !it.token || it.sent.has(outcome)) return;
    it.sent.add(outcome);
    const said = [{ event_token: it.token, outcome }];
    if (!answer || hit.href) tell(said);
    else return ask("web/responses", { responses: said }).then(refresh);
  });

  // A click in a mail brings its event token along. Only a page that somebody looks at confirms it.
  const confirmClick = safely(() => {
    const found = /[?&]nextbest=([\w.-]+)/.exec(location.search);
    if (!found) return;
    const rest = location.search.replace(/([?&])nextbest=[^&]*&?/, "$1").replace(/[?&]$/, "");
    history.replaceState(history.state, "", location.pathname + rest + location.hash);
    return post("web/responses", { responses: [{ event_token: found[1], outcome: "clicked" }] });
  });

  // ---- What a page can call; all of it may be called before this script is there: nextbest.push(["permit", true]).

  const api = {
    refresh,
    watch,
    context: (said) => (context = { ...context, ...said }),
    decide: (placements, said) =>
      within((signal) => ask("web/decisions", { placements, context: { ...context, ...said } }, signal)).catch(
        (error) => ({ fallback: true, placements: [], why: error.message }),
      ),
    respond: safely((event_token, outcome) => ask("web/responses", { responses: [{ event_token, outcome }] })),
    identify: (visitorToken) => {
      known = visitorToken;
      return refresh();
    },
    permit: safely((yes) => {
      permitted = yes;
      visitor = yes && (remembered() || visitor);
      if (yes) remember();
      else localStorage.removeItem(KEY);
    }),
    push: ([name, ...args]) => api[name](...args),
  };

  const start = safely(() => {
    confirmClick();
    scan();
    let soon;
    new MutationObserver(() => {
      clearTimeout(soon);
      soon = setTimeout(scan);
    }).observe(document, { childList: true, subtree: true, attributes: true, attributeFilter: ["data-nextbest"] });
  });

  const begin = () => {
    if (document.readyState === "loading") addEventListener("DOMContentLoaded", start);
    else start();
  };

  safely(() => {
    context = JSON.parse(told.context || "{}");
  })();
  window.nextbest = api;
  for (const each of [].concat(queued || [])) safely(api.push)(each);
  for (const name of ["click", "auxclick"]) document.addEventListener(name, clicked, true);
  document.addEventListener("visibilitychange", () => [...shown.keys()].forEach(pace));
  addEventListener("resize", () => [...shown.keys()].forEach(loosen));
  addEventListener("pageshow", ({ persisted }) => {
    if (!persisted) return;
    for (const it of shown.values()) it.sent.clear();
    refresh();
  });
  safely(() => {
    customElements.define(
      "nextbest-placement",
      class extends HTMLElement {
        connectedCallback() {
          this.dataset.nextbest = this.getAttribute("name");
        }
      },
    );
  })();
  if (document.prerendering) document.addEventListener("prerenderingchange", begin, { once: true });
  else begin();
})();
