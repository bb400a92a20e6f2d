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
  const deadline = +told.deadline || 800;
  const KEY = "nextbest";
  const ELEMENT = "nextbest-placement";
  const MARKUP = /^(A|B|BR|DIV|EM|H[1-6]|I|LI|OL|P|S|SMALL|SPAN|STRONG|SU[BP]|U|UL)$/;
  const FIELD = "[data-nextbest-field]";
  const CHANGED = ["href", "src", "srcset", "alt"];

  // What is shown: element -> {token, sent, says, before}; before: what its nodes were when the author wrote them.
  const shown = new Map();
  // Elements that the keyboard reaches only because they scroll.
  const reachable = new WeakSet();
  // What is asked for: element -> [placement]. An answer to what is no longer asked for changes nothing.
  let asked = new WeakMap();
  let context = {};
  // Whose page this is: its token, and the promise of one. Whoever comes next is another object.
  let person = { token: told.token };
  let visitor, permitted;

  const safely = (work) => (...args) => {
    try {
      const result = work(...args);
      return result && result.catch ? result.catch(() => {}) : result;
    } catch {}
  };
  const on = (names, work) => names.split(" ").forEach((name) => addEventListener(name, work, true));
  const soon = () => AbortSignal.timeout(deadline);
  const announce = (el, what, detail) => el.dispatchEvent(new CustomEvent("nextbest:" + what, { bubbles: true, detail }));

  // ---- The service. Bodies are text, which browsers send to other sites without asking them first.

  const post = (path, body, signal) =>
    fetch(base + path, { method: "POST", body: JSON.stringify(body), signal, credentials: "omit", keepalive: true });

  const read = async (answer) => {
    const body = await answer.json();
    if (!answer.ok) throw Error(body.message);
    return body;
  };

  // A token ends with its time, and with an erasure: then an anonymous visitor is somebody new.
  const ask = async (path, body, signal) => {
    let answer = await post(path, { ...body, visitor_token: await token() }, signal);
    if (/401|410/.test(answer.status)) answer = await post(path, { ...body, visitor_token: await token(true) }, signal);
    return read(answer);
  };

  const within = (work) => {
    const signal = soon();
    return new Promise((done, refuse) => {
      signal.onabort = () => refuse(Error("late"));
      work(signal).then(done, refuse);
    });
  };

  // ---- Who is asking: whom the site's server named, else somebody new, remembered only with permission.

  const token = (renew, who = person) =>
    (who.waiting = who.waiting || found(renew, who).finally(() => (who.waiting = null)));

  const found = async (renew, who) => {
    if (told.tokenUrl && (renew || !who.token)) {
      const answer = await fetch(told.tokenUrl, { signal: soon() });
      if (!answer.ok) throw Error("no token");
      who.token = (await answer.text()).trim();
    } else if (who.token && renew) {
      throw Error("expired");
    }
    if (who.token) return who.token;
    // Two tabs that open at once would become two people: whoever is second finds what the first has stored.
    return navigator.locks ? navigator.locks.request(KEY, () => anonymous(renew)) : anonymous(renew);
  };

  // What another tab has forgotten is not remembered again.
  const anonymous = async (renew) => {
    const kept = remembered();
    permitted = kept || (permitted && !visitor);
    visitor = kept || visitor || (permitted && (await heard()));
    if (renew || !visitor || Date.parse(visitor.expires_at) < Date.now()) {
      visitor = await read(await post("web/visitors", { visitor_id: (visitor || {}).visitor_id }, soon()));
      if (permitted && (!kept || remembered())) {
        remember();
        whisper();
      }
    }
    return visitor.visitor_token;
  };

  const remembered = safely(() => JSON.parse(localStorage[KEY]));

  const remember = safely(() => {
    if (permitted && visitor) localStorage[KEY] = JSON.stringify(visitor);
  });

  // Browsers tell one tab late what another has stored, and at once which locks it holds: for as long as that may take,
  // a lock bears the visitor in its name. It ends, because a page that holds one does not come back from the cache.
  const whisper = safely(() =>
    navigator.locks.request(KEY + JSON.stringify(visitor), () => new Promise((done) => setTimeout(done, 5000))),
  );

  const heard = safely(async () => {
    const { held } = await navigator.locks.query();
    return JSON.parse(localStorage[KEY] || held.map(({ name }) => name.split(KEY)[1]).find((text) => text));
  });

  // ---- Filling: everything is prepared first, then a placement changes at once.

  const address = (text) => {
    const { href, protocol } = new URL(text, base);
    if (!["https:", "mailto:", "tel:", told.scheme, location.protocol].includes(protocol)) throw Error("address " + text);
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
    const node = document.createElement("li");
    node.append(text);
    return node;
  };

  const picture = async (node, url, alt) => {
    const image = new Image();
    image.src = address(url);
    await image.decode().catch(() => {
      throw Error("picture " + url);
    });
    return () => {
      for (const each of nodesOf(node.closest("picture") || node, "[srcset]")) write(each, "srcset");
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
    const style = getComputedStyle(el);
    if (style.display === "inline" && el.localName === ELEMENT) el.style.display = "block";
    const { height } = style;
    let last = el;
    while (last.parentElement && !last.nextElementSibling) last = last.parentElement;
    const top = () => el.getBoundingClientRect().top;
    const end = () => (last.nextElementSibling || el).getBoundingClientRect().bottom;
    const topWas = top();
    const endWas = end();
    const children = [...el.children].map((child) => [child, child.style.display]);
    loosen(el);
    el.style.height = height;
    for (const [child] of children) child.style.setProperty("display", "none", "important");
    el.offsetHeight;
    try {
      work();
    } finally {
      for (const [child, display] of children) child.style.display = display;
    }
    el.style.height = "";
    el.style.minHeight = height;
    if (parseFloat(style.height) > parseFloat(height) + 1 && topWas + parseFloat(height) < innerHeight) {
      el.style.height = height;
      el.style.overflow = "auto";
      // Keys can scroll what has the focus.
      if (el.tabIndex < 0) {
        el.tabIndex = 0;
        reachable.add(el);
      }
      // Margins of its children that stood out of the box are inside now: it gets such margins of its own.
      el.style.marginTop = "999px";
      el.style.marginTop = 999 + topWas - top() + "px";
      el.style.marginBottom = "999px";
      el.style.marginBottom = endWas - end() ? 999 + endWas - end() + "px" : "";
    }
    if (focused) focused.focus({ preventScroll: true });
  };

  const loosen = (el) => {
    for (const name of ["height", "minHeight", "overflow", "marginTop", "marginBottom"]) el.style[name] = "";
    if (reachable.delete(el)) el.removeAttribute("tabindex");
  };

  const restore = (el) => {
    const it = shown.get(el);
    if (!it) return;
    swap(el, () => {
      for (const [node, children, values] of it.before) {
        node.replaceChildren(...children);
        CHANGED.forEach((name, at) => write(node, name, values[at]));
        node.style.visibility = "";
      }
    });
    clearTimeout(it.timer);
    shown.delete(el);
    sight.unobserve(el);
  };

  const write = (node, name, value) => (value == null ? node.removeAttribute(name) : node.setAttribute(name, value));

  const show = async (el, placed, check) => {
    check();
    if (!placed.content) {
      restore(el);
      throw Error(placed.outcome || placed);
    }
    const fields = nodesOf(el, FIELD);
    const changes = await Promise.all(fields.map((node) => change(node, placed)));
    check();
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
    const unfilled = new Map(elements.map((el) => [el, asked.get(el)]));
    const keep = (el, error) => unfilled.delete(el) && announce(el, "kept", { why: error.message });
    try {
      await within(async (signal) => {
        const { fallback, placements, refused } = await ask("web/decisions", { placements: names, context }, signal);
        if (fallback) throw Error("trouble");
        const fillOne = async ([el, asking]) => {
          const at = placements.findIndex((each) => each.placement === asking[0]);
          const placed = placements[at] || refused[asking[0]] || "nothing";
          placements[at] = 0;
          const check = () => {
            if (signal.aborted || asked.get(el) !== asking) throw Error("late");
          };
          try {
            await show(el, placed, check);
            unfilled.delete(el);
          } catch (error) {
            keep(el, error);
          }
        };
        await Promise.all([...unfilled].map(fillOne));
      });
    } catch (error) {
      for (const el of unfilled.keys()) keep(el, error);
    }
  };

  const scan = safely(async () => {
    for (const el of shown.keys()) if (!el.isConnected) asked.delete(el, restore(el));
    const fresh = [...document.querySelectorAll("[data-nextbest]")].filter((el) => {
      const name = el.dataset.nextbest;
      return name && (asked.get(el) || [])[0] !== name && asked.set(el, [name]);
    });
    if (fresh.length) await fill(fresh);
  });

  const refresh = () => {
    asked = new WeakMap();
    return scan();
  };

  // ---- What people do: half of it in sight for a second on a visible page, clicks, answers.

  const tell = safely((responses, visitor_token) =>
    navigator.sendBeacon(base + "web/responses", JSON.stringify({ responses, visitor_token })),
  );

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
      tell([{ event_token: it.token, outcome: "impression" }], person.token || visitor.visitor_token);
    }, 1000);
  };

  const sight = new IntersectionObserver(
    safely((entries) => {
      for (const { target, intersectionRatio } of entries) {
        const it = shown.get(target);
        if (it) it.isInSight = intersectionRatio >= 0.5;
        pace(target);
      }
    }),
    { threshold: [0, 0.5] },
  );

  const clicked = safely(({ isTrusted, button, target }) => {
    if (!isTrusted || button > 1) return;
    const hit = target.closest("a,button,[data-nextbest-outcome]");
    let el = hit;
    while (el && !shown.has(el)) el = el.parentElement;
    const it = shown.get(el);
    const answer = hit && hit.dataset.nextbestOutcome;
    const outcome = answer || "clicked";
    if (!it || !it.token || it.sent.has(outcome)) return;
    const said = [{ event_token: it.token, outcome }];
    it.sent.add(outcome);
    if (!answer || hit.href) tell(said, person.token || visitor.visitor_token);
    else return ask("web/responses", { responses: said }).then(refresh).finally(() => it.sent.delete(outcome));
  });

  // A click in a mail brings its event token along. Scanners load pages too: it is confirmed by the first sign of a person.
  const confirmClick = safely(() => {
    const [, event_token] = /[?&]nextbest=([\w.-]+)/.exec(location.search);
    const rest = location.search.replace(/([?&])nextbest=[^&]*&?/, "$1").replace(/[?&]$/, "");
    history.replaceState(history.state, "", location.pathname + rest + location.hash);
    let isOpen = true;
    const confirmed = ({ isTrusted }) => {
      if (isTrusted && isOpen) isOpen = !tell([{ event_token, outcome: "clicked" }]);
    };
    on("pointermove pointerdown wheel keydown", confirmed);
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
      person = { token: visitorToken };
      for (const el of shown.keys()) restore(el);
      return refresh();
    },
    permit: safely((yes) => {
      permitted = yes;
      if (yes) remember((visitor = remembered() || visitor));
      else delete localStorage[KEY];
    }),
    push: ([name, ...args]) => api[name](...args),
  };

  // Once the whole page is there, and somebody may see it: browsers prepare pages that nobody asked for.
  const begin = safely(() => {
    if (document.prerendering || document.readyState === "loading") return;
    confirmClick();
    changes.observe(document, { childList: true, subtree: true, attributes: true, attributeFilter: ["data-nextbest"] });
    scan();
  });

  let soonest;
  const changes = new MutationObserver(() => {
    clearTimeout(soonest);
    soonest = setTimeout(scan);
  });

  safely(() => {
    context = JSON.parse(told.context || "{}");
  })();
  window.nextbest = api;
  [].concat(queued || []).forEach(safely(api.push));
  on("click auxclick", clicked);
  on("visibilitychange", () => [...shown.keys()].forEach(pace));
  on("resize", () => [...shown.keys()].forEach(loosen));
  on("pageshow", ({ persisted }) => {
    if (!persisted) return;
    for (const it of shown.values()) it.sent.clear();
    refresh();
  });
  safely(() => {
    customElements.define(
      ELEMENT,
      class extends HTMLElement {
        connectedCallback() {
          this.dataset.nextbest = this.getAttribute("name");
        }
      },
    );
  })();
  on("DOMContentLoaded prerenderingchange", begin);
  begin();
})();
