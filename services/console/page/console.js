"use strict";

// Texts from the bus go in by textContent alone: nothing that an event says can become markup.
const $ = (id) => document.getElementById(id);
const OUTCOMES = { ALLOW: "good", STEP_UP: "info", REVIEW: "warn", DECLINE: "bad" };
const POSTURES = { NORMAL: "good", DEGRADED_1: "warn", DEGRADED_2: "warn", FAIL_CLOSED: "bad" };
const STATES = { ok: "good", degraded: "warn", away: "bad", refused: "bad", absent: "idle", none: "idle", found: "good" };
const SAID = { none: "not there", absent: "not running here", away: "away", refused: "refused", found: "" };

function el(tag, attributes, ...children) {
  const svg = tag === "svg" || tag === "path";
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined).map((child) => child.nodeType ? child : String(child)));
  return node;
}
const fill = (id, ...children) => $(id).replaceChildren(...children);
const count = (value) => Number(value).toLocaleString("en-US", { maximumFractionDigits: value < 10 ? 1 : 0 });
const time = (micros) => new Date(micros / 1000).toISOString().replace("T", " ").slice(0, 19);
const money = (minor, currency) => `${(minor / 100).toLocaleString("en-US", { minimumFractionDigits: 2 })} ${currency}`;
const pill = (text, kind) => el("span", { class: `pill ${kind || "idle"}` }, text);
const hint = (text) => el("p", { class: "hint" }, text);

async function ask(path, options) {
  const answer = await fetch(path, { headers: { Accept: "application/json" }, ...options });
  if (answer.status === 401) { signIn(); throw new Error("signing in is needed"); }
  if (answer.status === 204) return null;
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.detail || `the console answers ${answer.status}`);
  return content;
}

function table(heads, rows) {
  const head = el("tr", {}, ...heads.map((name) => el("th", { class: name.endsWith(" ") ? "number" : null }, name.trim())));
  return el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows));
}

// -- the flow

function spark(history) {
  const top = Math.max(...history, 1), last = Math.max(history.length - 1, 1);
  const points = history.map((rate, at) => `${(at / last * 100).toFixed(1)} ${(21 - rate / top * 20).toFixed(1)}`);
  const line = points.length > 1 ? `M${points.join("L")}` : "M0 21L100 21";
  return el("svg", { class: "spark", viewBox: "0 0 100 22", preserveAspectRatio: "none", "aria-hidden": "true" }, el("path", { d: line }));
}

function tile(name, value, more, kind) {
  return el("div", { class: "tile" }, el("span", {}, name), el("strong", { class: kind }, value), el("em", {}, more));
}

function showTiles(flow) {
  const rate = (topic) => (flow.topics.find((one) => one.topic === topic) || { per_second: 0 }).per_second;
  const total = (topic) => topic in flow.totals ? `${count(flow.totals[topic])} in all` : "";
  const waiting = flow.lag.reduce((sum, one) => sum + one.records, 0);
  const posture = flow.postures[0];
  fill("tiles",
    tile("Payments admitted", `${count(rate("traffic.payment"))}/s`, total("traffic.payment")),
    tile("Decisions", `${count(rate("traffic.decision"))}/s`, total("traffic.decision")),
    tile("Quarantined", `${count(rate("audit.quarantine"))}/s`, total("audit.quarantine")),
    tile("Records that wait", count(waiting), flow.lag.length ? "over all readers" : "nobody reports"),
    posture ? tile("Posture", posture.posture.replace("_", " "), posture.forced_by ? `forced by ${posture.forced_by}` : posture.causes.join(", ") || `since ${time(posture.since)}`, POSTURES[posture.posture])
      : tile("Posture", "none yet", "no ladder has spoken", "idle"));
}

function showDecisions({ decisions }) {
  const seen = decisions.seen;
  $("mix-seen").textContent = seen ? `${count(seen)} seen in the last minute` : "none in the last minute";
  fill("mix", ...Object.entries(decisions.outcomes).filter(([, number]) => number).map(([outcome, number]) => {
    const part = el("i", { class: `fill-${OUTCOMES[outcome]}`, title: `${outcome} ${number}` });
    part.style.width = `${number / seen * 100}%`;
    return part;
  }));
  const modes = Object.entries(decisions.modes).filter(([mode]) => mode !== "MODEL");
  fill("mix-legend",
    ...Object.entries(decisions.outcomes).map(([outcome, number]) => el("li", {}, el("span", { class: `dot fill-${OUTCOMES[outcome]}` }), outcome.replace("_", " "), " ", el("b", {}, count(number)), seen ? el("span", { class: "dim" }, ` ${(number / seen * 100).toFixed(1)}%`) : null)),
    ...modes.map(([mode, number]) => el("li", { class: "warn" }, `${mode.replace("_", " ")} `, el("b", {}, count(number)))));
  fill("latest", decisions.latest.length ? table(["outcome", "amount ", "score ", "reasons", "customer"], decisions.latest.map((one) => openRow(one.event_id,
    el("td", {}, pill(one.outcome.replace("_", " "), OUTCOMES[one.outcome])),
    el("td", { class: "number" }, money(one.amount_minor, one.currency)),
    el("td", { class: "number" }, one.score_ppm === null ? "–" : (one.score_ppm / 1e6).toFixed(3)),
    el("td", { class: "dim short", title: one.reason_codes.join(", ") }, one.reason_codes.join(", ") || "–"),
    el("td", { class: "mono" }, one.customer_id)))) : hint("No decision has been seen yet."));
}

function openRow(eventId, ...cells) {
  const go = () => { location.hash = `event/${encodeURIComponent(eventId)}`; };
  return el("tr", { class: "open", tabindex: 0, onclick: go, onkeydown: (press) => { if (press.key === "Enter") go(); } }, ...cells);
}

function showFlow(flow) {
  showTiles(flow);
  showDecisions(flow);
  const topics = new Set([...flow.topics.map((one) => one.topic), ...Object.keys(flow.totals)]);
  const rated = Object.fromEntries(flow.topics.map((one) => [one.topic, one]));
  fill("topics", topics.size ? table(["topic", "a second ", "", "records "], [...topics].sort().filter((topic) => rated[topic] || flow.totals[topic]).map((topic) => el("tr", {},
    el("td", { class: "mono" }, topic),
    el("td", { class: "number" }, rated[topic] ? count(rated[topic].per_second) : "–"),
    el("td", {}, rated[topic] ? spark(rated[topic].history) : null),
    el("td", { class: "number dim" }, topic in flow.totals ? count(flow.totals[topic]) : "")))) : hint("Nothing is known yet."));
  fill("services", ...flow.services.map((one) => el("li", {}, el("span", { class: `dot fill-${STATES[one.state] || "idle"}` }),
    el("div", {}, one.service.replaceAll("_", " "), el("small", {}, one.state === "absent" ? "not running here" : one.detail || one.state)))));
  fill("lag", flow.lag.length ? table(["reader", "topic", "behind "], [...flow.lag].sort((a, b) => b.records - a.records).slice(0, 16).map((one) => el("tr", {},
    el("td", {}, one.service.replaceAll("_", " ")), el("td", { class: "mono" }, one.topic),
    el("td", { class: `number ${one.records > 10000 ? "warn" : ""}` }, count(one.records))))) : hint("No reader reports its position."));
}

async function follow() {
  const shown = document.visibilityState === "visible" && view().name === "flow";
  if (shown) {
    try {
      const flow = await ask("/v1/flow");
      showFlow(flow);
      const broker = flow.broker.state === "ok";
      say(broker ? "live" : "broker away", broker ? "good" : "bad", flow.broker.detail);
    } catch (problem) { say("console away", "bad", problem.message); }
  }
  setTimeout(follow, 1000);
}

function say(text, kind, detail) {
  $("link").textContent = text;
  $("link").className = `pill ${kind}`;
  $("link").title = detail || "";
}

// -- the inspector

const FACTS = {
  receipt: (content) => content.receipts.map((one) => ({ decision: one.decision, reasons: one.reason_codes.join(", "), at: one.admitted_at, "sent by": one.principal, run: one.run_id, stands: one.event_bus && `${one.event_bus.topic}[${one.event_bus.partition}]@${one.event_bus.offset}`, policy: one.policy_revision })),
  event: (content) => [{ type: content.event_type, time: time(content.ts_utc), ...plain(content.payload), ...("amount_minor" in content.payload ? { amount: money(content.payload.amount_minor, content.payload.currency), amount_minor: null, currency: null } : {}) }],
  snapshot: (content) => [{ as_of: content.as_of, feature_set: text(content.feature_set), graph_version: content.graph_version, degraded: text(content.degraded), snapshot_hash: content.snapshot_hash }],
  decision: (content) => { const payload = content.payload || content; return [{ outcome: payload.outcome, mode: payload.mode, score: payload.score_ppm === null || payload.score_ppm === undefined ? null : (payload.score_ppm / 1e6).toFixed(6), reasons: text(payload.reason_codes), posture: payload.posture, bundle: [payload.bundle_id, payload.bundle_revision].filter(Boolean).join(" "), policy: payload.policy_revision, "graph version": payload.graph_version, snapshot: payload.snapshot_hash }]; },
  intents: (content) => content.map(({ payload }) => ({ domain: payload.domain, effector: payload.effector, action: payload.action, key: payload.idempotency_key })),
  outcomes: (content) => content.map(({ payload }) => ({ domain: payload.domain, outcome: payload.outcome, attempts: payload.attempts, reasons: text(payload.reason_codes), detail: payload.detail })),
  record: (content) => (content.records || []).map((one) => ({ chain: one.record.chain.status, missing: text(one.record.chain.missing), leaf: one.leaf, current: one.current, "leaf hash": one.leaf_hash })),
};
const text = (value) => Array.isArray(value) ? value.map(text).join(", ") : value && typeof value === "object" ? Object.values(value).join(" ") : value;
const plain = (fields) => Object.fromEntries(Object.entries(fields).filter(([, value]) => value === null || typeof value !== "object"));
const present = (value) => value !== null && value !== undefined && value !== "";

function factsOf(link) {
  try { return FACTS[link.link](link.content); } catch { return []; } // a shape of another version: the JSON below has it all
}

function showLink(link) {
  const found = link.state === "found";
  const facts = found ? factsOf(link) : [];
  return el("li", { class: `${link.state} ${STATES[link.state]}` },
    el("h3", {}, link.link, el("small", {}, found ? `${link.source.replaceAll("_", " ")} · ${link.detail || "answered"}` : `${SAID[link.state]}: ${link.detail}`)),
    ...facts.map((one) => el("dl", {}, ...Object.entries(one).filter(([, value]) => present(value)).map(([name, value]) => el("div", {}, el("dt", {}, name.replaceAll("_", " ")), el("dd", { class: /hash|key|stands|_id$|snapshot/.test(name) ? "mono" : null }, value))))),
    found ? el("details", {}, el("summary", {}, "everything"), el("pre", {}, JSON.stringify(link.content, null, 2))) : null);
}

async function inspect(eventId) {
  $("event-id").textContent = eventId;
  $("event-hint").hidden = Boolean(eventId);
  $("find-id").value = eventId;
  fill("chain");
  if (!eventId) return;
  try {
    const chain = await ask(`/v1/events/${encodeURIComponent(eventId)}`);
    if (view().rest === eventId) fill("chain", ...chain.links.map(showLink));
    say("answered", "good");
  } catch (problem) { fill("chain", el("li", { class: "bad" }, problem.message)); }
}

// -- the quarantine

async function quarantine(page) {
  const query = page ? `?page=${encodeURIComponent(page)}` : "";
  try {
    const found = await ask(`/v1/quarantine${query}`);
    const rows = found.items.flatMap(quarantineRows);
    if (page) $("quarantine").querySelector("tbody").append(...rows);
    else fill("quarantine", table(["at", "reason", "status", "sent by", "lane", "in words"], rows));
    $("quarantine-hint").textContent = rows.length || page ? "" : "Nothing is in quarantine.";
    $("older").hidden = !found.next_page;
    $("older").onclick = () => quarantine(found.next_page);
    say("answered", "good");
  } catch (problem) { $("quarantine-hint").textContent = problem.message; say("not answered", "warn"); }
}

function quarantineRows(item) {
  const more = el("tr", { hidden: "" }, el("td", { class: "wrap", colspan: 6 }, el("pre", {}, "…")));
  const open = async () => {
    more.hidden = !more.hidden;
    if (more.hidden) return;
    const shown = more.querySelector("pre");
    try { shown.textContent = JSON.stringify(await ask(`/v1/quarantine/${item.quarantine_id}`), null, 2); } catch (problem) { shown.textContent = problem.message; }
  };
  const lane = item.lane ? `${item.lane.topic}[${item.lane.partition}]@${item.lane.offset}` : "";
  return [el("tr", { class: "open", tabindex: 0, onclick: open, onkeydown: (press) => { if (press.key === "Enter") open(); } },
    el("td", { class: "dim" }, item.quarantined_at.replace("T", " ").slice(0, 19)),
    el("td", {}, pill(item.reason_codes.join(", "), "warn")), el("td", {}, item.status), el("td", {}, item.principal),
    el("td", { class: "mono" }, lane), el("td", { class: "wrap dim" }, item.detail || "")), more];
}

// -- signing in, and which view is shown

function signIn() { if (!$("sign-in").open) $("sign-in").showModal(); }
$("sign-in-form").addEventListener("submit", async (sent) => {
  sent.preventDefault();
  const answer = await fetch("/v1/session", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ token: $("token").value }) });
  $("sign-in-problem").textContent = answer.ok ? "" : "This token is not known here.";
  if (answer.ok) { $("token").value = ""; $("sign-in").close(); show(); }
});
$("find").addEventListener("submit", (sent) => {
  sent.preventDefault();
  location.hash = `event/${encodeURIComponent($("find-id").value.trim())}`;
});

function view() {
  const [name, rest] = location.hash.slice(1).split("/", 2);
  return { name: ["flow", "event", "quarantine"].includes(name) ? name : "flow", rest: decodeURIComponent(rest || "") };
}
function show() {
  const { name, rest } = view();
  for (const one of ["flow", "event", "quarantine"]) $(`view-${one}`).hidden = one !== name;
  for (const link of document.querySelectorAll("nav a")) link.dataset.view === name ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
  if (name === "event") inspect(rest);
  if (name === "quarantine") quarantine();
}
addEventListener("hashchange", show);
show();
follow();
