// The review page: a window of cards over rows of any number, keys, verdicts, and a look at the table now and then.
// The report has the same page with its data inside; `source` is the only difference. All texts are set as text.
"use strict";
(() => {
const MIN_CARD = 248, GAP = 16, TEXT = 128, ASPECT = 0.66, OVERSCAN = 2, PAGE = 60, POLL_MS = 2000;
const $ = (id) => document.getElementById(id);
const report = document.body.dataset.report === "yes";
const grid = $("grid"), main = document.querySelector("main"), filters = ["state", "verdict", "model", "error", "sort"];
const VERDICTS = { approved: "Approved", rejected: "Rejected", none: "Not judged", noted: "With a note" };
const calm = matchMedia("(prefers-reduced-motion: reduce)");

// ---- where the data come from ------------------------------------------------------------------------------------
const live = {
  async ask(path, query, body) {
    const address = query ? `${path}?${new URLSearchParams(query)}` : path;
    const options = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    const answer = await fetch(address, options);
    const found = await answer.json().catch(() => ({ error: "The server's answer can't be read." }));
    if (!answer.ok) throw new Error((found && found.error) || `The server refuses this (${answer.status}).`);
    return found;
  },
  summary() { return this.ask("summary"); },
  cards(wanted, first, limit) { return this.ask("cards", { ...wanted, first, limit }); },
  row(key) { return this.ask("row", { key }); },
};

const productOf = (key) => key.slice(0, Math.max(0, key.lastIndexOf("#"))); // TEA of the variant TEA#a
function inside(data) {
  const cost = (card) => card.credits ?? -1;
  const orders = { row: () => 0, cost: (a, b) => cost(b) - cost(a), time: (a, b) => (b.changed_at ?? "").localeCompare(a.changed_at ?? "") };
  const said = { approved: (c) => c.verdict === "approved", rejected: (c) => c.verdict === "rejected",
    none: (c) => !c.verdict && c.state === "complete", noted: (c) => c.note !== "" };
  return {
    async summary() { return data.summary; },
    async cards(wanted, first, limit) {
      const sought = wanted.search.trim().toLowerCase();
      const is = (card, all, own, value) => !value || (card.also ? card.also[all].includes(value) : card[own] === value);
      const found = data.cards.filter((card) => is(card, "states", "state", wanted.state) && (!wanted.verdict || said[wanted.verdict](card))
        && is(card, "models", "model", wanted.model) && is(card, "codes", "code", wanted.error)
        && (!sought || card.key.toLowerCase().includes(sought) || card.prompt.toLowerCase().includes(sought)));
      found.sort(orders[wanted.sort]);
      return { rows: found.length, shown: found.length, first, cards: found.slice(first, first + limit) };
    },
    async row(key) {
      const product = productOf(key), row = data.details[key] ?? { videos: data.cards.filter((card) => card.key === key), attempts: [], said: [] };
      return { ...row, variants: product ? data.cards.filter((card) => card.key !== key && productOf(card.key) === product) : [] };
    },
  };
}
const data = report ? JSON.parse($("data").textContent) : null;
const source = report ? inside(data) : live;

// ---- small things ------------------------------------------------------------------------------------------------
const number = (value) => value.toLocaleString("en");
const words = (text) => text.replaceAll("_", " ");
const when = (stamp) => (stamp ? new Date(stamp).toLocaleString([], { dateStyle: "medium", timeStyle: "short" }) : "");
function make(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = text;
  if (className) made.className = className;
  return made;
}
let toastTimer;
function tell(text) {
  const toast = $("toast");
  toast.textContent = text;
  toast.classList.add("seen");
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => toast.classList.remove("seen"), 3500);
}

// ---- the list: which rows there are, and those that are known ------------------------------------------------------
const list = { rows: 0, shown: 0, known: new Map(), asked: new Set(), turn: 0, at: 0, current: null };
const shape = { columns: 1, width: MIN_CARD, height: 400, media: 160 };
const nodes = new Map(); // index → card

const wanted = () => ({ search: $("search").value, ...Object.fromEntries(filters.map((name) => [name, $(name).value])) });
const same = (card, other) => card && other && card.key === other.key;

async function load(first) {
  const page = Math.floor(first / PAGE) * PAGE;
  if (list.asked.has(page)) return;
  list.asked.add(page);
  const turn = list.turn;
  try {
    take(await source.cards(wanted(), page, PAGE), page, turn);
  } catch (error) {
    list.asked.delete(page);
    if (turn === list.turn) tell(error.message);
  }
}

function take(found, page, turn) {
  if (turn !== list.turn) return;
  const changed = found.rows !== list.rows || found.shown !== list.shown;
  list.rows = found.rows;
  list.shown = found.shown;
  found.cards.forEach((card, offset) => list.known.set(page + offset, card));
  grid.setAttribute("aria-busy", "false");
  if (changed) size();
  draw();
}

async function restart(keep) {
  list.turn += 1;
  list.known.clear();
  list.asked.clear();
  $("changed").hidden = true;
  const before = keep ? list.current : null;
  if (!keep) { list.at = 0; list.current = null; window.scrollTo(0, 0); }
  for (const node of nodes.values()) node.remove();
  nodes.clear();
  await load(before ? list.at : 0);
  if (!list.shown) size();
  marked();
}

function count() {
  const rows = `${number(list.rows)} ${list.rows === 1 ? "row" : "rows"}`;
  $("count").textContent = list.shown < list.rows ? `${rows}; the first ${number(list.shown)} are shown: filter to see others` : rows;
  $("none").hidden = list.rows > 0;
  grid.hidden = list.rows === 0;
}

// ---- drawing: only the cards near the window are in the page --------------------------------------------------------
function size() {
  const width = main.clientWidth;
  shape.columns = Math.max(1, Math.floor((width + GAP) / (MIN_CARD + GAP)));
  shape.width = Math.floor((width - GAP * (shape.columns - 1)) / shape.columns);
  shape.media = Math.round(shape.width * ASPECT);
  const actions = parseInt(getComputedStyle(document.body).getPropertyValue("--actions-height"), 10);
  shape.height = shape.media + TEXT + actions + 2;
  grid.style.height = `${Math.ceil(list.shown / shape.columns) * (shape.height + GAP)}px`;
  grid.style.setProperty("--media-height", `${shape.media}px`);
  for (const [index, node] of nodes) place(node, index);
  count();
}

function place(node, index) {
  const column = index % shape.columns, line = Math.floor(index / shape.columns);
  node.style.width = `${shape.width}px`;
  node.style.height = `${shape.height}px`;
  node.style.transform = `translate(${column * (shape.width + GAP)}px, ${line * (shape.height + GAP)}px)`;
}

function draw() {
  const top = -grid.getBoundingClientRect().top, step = shape.height + GAP;
  const first = Math.max(0, Math.floor(top / step) - OVERSCAN) * shape.columns;
  const last = Math.min(list.shown, (Math.ceil((top + innerHeight) / step) + OVERSCAN) * shape.columns);
  for (const [index, node] of nodes) {
    if ((index < first || index >= last) && !node.contains(document.activeElement) || index >= list.shown) { node.remove(); nodes.delete(index); }
  }
  for (let index = first; index < last; index += 1) show(index);
  for (let page = Math.floor(first / PAGE); page * PAGE < Math.min(list.shown, last + PAGE); page += 1) load(page * PAGE);
}

function show(index) {
  const card = list.known.get(index);
  let node = nodes.get(index);
  if (!node) {
    node = $("card").content.firstElementChild.cloneNode(true);
    node.dataset.index = index;
    nodes.set(index, node);
    place(node, index);
    const later = [...grid.children].find((other) => Number(other.dataset.index) > index); // Tab goes in the order of rows
    grid.insertBefore(node, later ?? null);
  }
  const stamp = card ? JSON.stringify(card) : "";
  if (node.stamp === stamp) return;
  node.stamp = stamp;
  node.classList.toggle("waits", !card);
  node.setAttribute("aria-setsize", list.shown);
  node.setAttribute("aria-posinset", index + 1);
  node.tabIndex = index === list.at ? 0 : -1;
  if (card) fill(node, card, index);
}

function fill(node, card, index) {
  const part = (name) => node.querySelector(name);
  const title = part("h3");
  title.id = `card-${index}`;
  node.setAttribute("aria-labelledby", title.id);
  title.firstElementChild.textContent = card.label;
  title.title = card.label;
  node.dataset.key = card.key;
  node.dataset.verdict = card.verdict ?? "";
  node.dataset.state = card.state;
  part(".state").textContent = words(card.state);
  part(".prompt").textContent = card.prompt;
  part(".prompt").title = card.prompt;
  const trouble = [card.also?.further ? `A further video is ${words(card.also.further)}.` : "", card.error].filter(Boolean).join(" ");
  part(".trouble").textContent = trouble;
  part(".trouble").title = trouble;
  node.classList.toggle("troubled", trouble !== "");
  facts(part(".facts"), card);
  part(".length").textContent = card.seconds ? `${card.seconds} s` : "";
  part(".stamp").textContent = card.verdict ? VERDICTS[card.verdict] : "";
  picture(node, card);
  part(".play").hidden = !card.video;
  part(".more").setAttribute("aria-label", `All of ${card.label}`);
  judgeable(node, card);
}

function facts(target, card) {
  const many = [card.videos > 1 ? `${card.videos} videos` : "", card.attempts > 1 ? `${card.attempts} requests` : "", card.gone ? "not in the manifest" : ""];
  target.replaceChildren(make("b", card.cost), ` · ${[card.model, card.resolution, ...many].filter(Boolean).join(" · ")}`);
  target.title = target.textContent;
}

function picture(node, card) {
  const image = node.querySelector(".picture"), back = node.querySelector(".back"), none = node.querySelector(".no-picture");
  none.textContent = card.image ? "" : card.no_image;
  image.hidden = !card.image;
  if (back) back.hidden = !card.image;
  if (!card.image || image.getAttribute("src") === card.image) return;
  image.referrerPolicy = "no-referrer";
  image.onload = () => back?.getContext("2d").drawImage(image, 0, 0, back.width, back.height);
  image.onerror = () => { image.hidden = true; none.textContent = "There is no picture of it"; };
  image.src = card.image;
}

function judgeable(node, card) {
  for (const [name, verdict] of [["yes", "approved"], ["no", "rejected"]]) {
    const button = node.querySelector(`.actions .${name}`);
    if (!button) continue;
    button.disabled = card.state !== "complete";
    button.setAttribute("aria-pressed", String(card.verdict === verdict));
  }
  const note = node.querySelector(".actions .note");
  if (!note) return;
  note.disabled = card.state !== "complete";
  note.classList.toggle("has", card.note !== "");
  note.title = card.note || "Note (n)";
}

// ---- going from card to card ---------------------------------------------------------------------------------------
function goTo(index, focus = true) {
  if (!list.shown) return;
  list.at = Math.min(Math.max(index, 0), list.shown - 1);
  list.current = list.known.get(list.at) ?? null;
  reveal(list.at);
  draw();
  for (const [each, node] of nodes) node.tabIndex = each === list.at ? 0 : -1;
  if (focus) nodes.get(list.at)?.focus({ preventScroll: true });
}

function reveal(index) {
  const top = grid.getBoundingClientRect().top + scrollY + Math.floor(index / shape.columns) * (shape.height + GAP);
  const header = getComputedStyle(document.querySelector(".top")).position === "sticky" ? document.querySelector(".top").offsetHeight + 14 : 12;
  if (top - header < scrollY) scrollTo(0, top - header);
  else if (top + shape.height + 20 > scrollY + innerHeight) scrollTo(0, top + shape.height + 20 - innerHeight);
}

const indexOf = (key) => [...list.known].find(([, card]) => card.key === key)?.[0];
const currentCard = () => list.known.get(list.at) ?? null;

// ---- playing -------------------------------------------------------------------------------------------------------
let playing = null; // { node, video }
function stop() {
  if (!playing) return;
  playing.node.classList.remove("playing");
  playing.video.pause();
  playing.video.removeAttribute("src"); // lets go of the connection, of which a browser has six
  playing.video.load();
  playing.video.remove();
  playing = null;
}
function play(node) {
  const card = list.known.get(Number(node.dataset.index));
  if (!card?.video || playing?.node === node) return;
  stop();
  const video = make("video");
  Object.assign(video, { muted: true, loop: true, playsInline: true, preload: "auto", src: card.video });
  video.setAttribute("aria-label", `Video of ${card.label}`);
  video.addEventListener("playing", () => video.classList.add("plays")); // until then the image stays
  video.addEventListener("error", () => { if (playing?.video === video) { stop(); tell("The video can't be played here."); } });
  node.querySelector(".media").insertBefore(video, node.querySelector(".length"));
  node.classList.add("playing");
  playing = { node, video };
  video.play().catch(() => {});
}
const toggle = (node) => (playing?.node === node ? stop() : play(node));

// ---- verdicts ------------------------------------------------------------------------------------------------------
async function judge(card, change, next = false) {
  if (report || !card) return;
  if (card.state !== "complete") { tell("There is no finished video to judge."); return; }
  const before = { verdict: card.verdict, note: card.note };
  const after = { ...before, ...change };
  set(card, after);
  if (next) goTo(list.at + 1);
  if (after.verdict === before.verdict && after.note === before.note) return;
  try {
    renew(await live.ask("verdict", null, { key: card.key, generation: card.generation, ...after, note: after.note || null }));
    tell(`${card.label}: ${after.verdict ? VERDICTS[after.verdict].toLowerCase() : "no verdict"}${after.note !== before.note ? ", note kept" : ""}`);
  } catch (error) {
    set(card, before);
    tell(error.message);
  }
  refreshSummary();
}
function set(card, values) {
  Object.assign(card, values);
  const index = indexOf(card.key);
  if (index !== undefined) { const known = list.known.get(index); if (known.generation === card.generation) Object.assign(known, values); show(index); }
  if (detail.open) drawDetail();
}
function renew(row) { // what the table has of a row now
  const index = indexOf(row.videos[0].key);
  if (index !== undefined) {
    const shown = row.videos.find((card) => card.generation === list.known.get(index).generation);
    if (shown) { list.known.set(index, shown); show(index); }
  }
  if (!detail.open || !opened) return;
  if (opened.videos[0].key === row.videos[0].key) opened = row;
  else opened.variants = opened.variants.map((card) => (card.key === row.videos[0].key ? row.videos.find((one) => one.generation === card.generation) ?? card : card));
  drawDetail();
}
async function undo() {
  if (report) return;
  try {
    const row = await live.ask("undo", null, {});
    if (!row) { tell("There is nothing of yours to undo."); return; }
    renew(row);
    const index = indexOf(row.videos[0].key);
    if (index !== undefined && !detail.open) goTo(index);
    tell(`${row.videos[0].label}: taken back`);
  } catch (error) { tell(error.message); }
  refreshSummary();
}
const flip = (card, verdict) => judge(card, { verdict: card?.verdict === verdict ? null : verdict }); // a button that is pressed, or not

let noted = null;
function note(card) {
  if (report || !card) return;
  if (card.state !== "complete") { tell("There is no finished video to judge."); return; }
  noted = card;
  $("noting-title").querySelector("bdi").textContent = card.label;
  $("note-text").value = card.note;
  $("noting").returnValue = "";
  $("noting").showModal();
}
$("noting").addEventListener("close", () => {
  if ($("noting").returnValue === "keep" && noted) judge(noted, { note: $("note-text").value.trim() });
  noted = null;
});
$("note-text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("noting").close("keep");
});

// ---- all of a row --------------------------------------------------------------------------------------------------
const detail = $("detail");
let opened = null;
async function open(card) {
  if (!card) return;
  stop();
  try { opened = await source.row(card.key); } catch (error) { tell(error.message); return; }
  drawDetail();
  if (!detail.open) { detail.showModal(); detail.querySelector(".versions").focus(); }
}
function drawDetail() {
  if (!opened) return;
  $("detail-title").firstElementChild.textContent = opened.videos[0].label;
  const versions = detail.querySelector(".versions");
  const shown = [...opened.videos, ...opened.variants];
  shown.forEach((card, place_) => {
    const node = versions.children[place_] ?? versions.appendChild($("version").content.firstElementChild.cloneNode(true));
    version(node, card, opened.videos.length);
  });
  while (versions.children.length > shown.length) versions.lastElementChild.remove();
  detail.querySelector(".logs").replaceChildren(...[attemptTable(), saidTable()].filter(Boolean));
}
function version(node, card, videos) {
  const part = (name) => node.querySelector(name);
  node.card = card;
  node.dataset.verdict = card.verdict ?? "";
  node.dataset.state = card.state;
  const own = card.key === opened.videos[0].key, title = own && videos > 1 ? `Video ${card.generation}` : "Video";
  part("h3").textContent = opened.variants.length ? [card.label, title === "Video" ? "" : title].filter(Boolean).join(" · ") : title;
  part(".state").textContent = words(card.state);
  part(".prompt").textContent = card.prompt;
  part(".trouble").textContent = card.error ?? "";
  part(".noted").textContent = card.note;
  const video = part("video");
  video.hidden = !card.video;
  video.setAttribute("aria-label", `Video ${card.generation} of ${card.label}`);
  if (card.video && video.getAttribute("src") !== card.video) { video.src = card.video; video.classList.add("plays"); if (card.image) video.poster = card.image; }
  if (card.video) part(".picture").hidden = true; else picture(node, card);
  if (card.video) part(".no-picture").textContent = "";
  pairs(part(".pairs"), [["Cost", card.cost], ["Model", card.model],
    ["Asked for", [card.seconds ? `${card.seconds} s` : "", card.resolution].filter(Boolean).join(", ")], ["Size", card.size], ["Video id", card.id],
    ["Image", card.image_path], ["File", card.no_video], ["Finished", when(card.changed_at)], ["Judged", when(card.reviewed_at)]]);
  judgeable(node, card);
}
function pairs(target, entries) {
  target.replaceChildren(...entries.filter(([, value]) => value).flatMap(([name, value]) => [make("dt", name), make("dd", value)]));
}
function table(title, names, lines) {
  const section = make("section"), made = make("table"), head = make("tr"), body = make("tbody");
  head.append(...names.map((name) => Object.assign(make("th", name), { scope: "col" })));
  for (const { cells, gone } of lines) {
    const line = make("tr", null, gone ? "gone" : "");
    line.append(...cells.map((cell) => make("td", cell)));
    body.append(line);
  }
  const top = make("thead");
  top.append(head);
  made.append(top, body);
  section.append(make("h3", title), made);
  return section;
}
function attemptTable() {
  if (!opened.attempts.length) return null;
  const lines = opened.attempts.map((each) => ({ cells: [when(each.at), [words(each.outcome), each.status, each.message].filter(Boolean).join(" · "),
    each.credits === null ? "" : number(each.credits), each.id ?? each.token] }));
  return table("Requests", ["When", "What became of it", "Credits", "Id"], lines);
}
function saidTable() {
  if (!opened.said.length) return null;
  const lines = opened.said.map((each) => ({ cells: [when(each.at), `${each.undoes ? "took back: " : ""}${each.verdict ?? "no verdict"}${opened.videos.length > 1 ? ` (video ${each.generation})` : ""}`,
    each.note, each.by] }));
  return table("Verdicts", ["When", "Verdict", "Note", "Who"], lines);
}
detail.addEventListener("close", () => {
  for (const video of detail.querySelectorAll("video")) { video.pause(); video.removeAttribute("src"); video.load(); }
  opened = null;
  nodes.get(list.at)?.focus({ preventScroll: true });
});
detail.addEventListener("click", (event) => {
  const node = event.target.closest(".version"), button = event.target.closest("button");
  if (!node || !button) return;
  if (button.matches(".yes")) flip(node.card, "approved");
  if (button.matches(".no")) flip(node.card, "rejected");
  if (button.matches(".note")) note(node.card);
});
function comparing() { // all of them at once, from the same moment
  const videos = [...detail.querySelectorAll("video:not([hidden])")];
  const start = videos.every((video) => video.paused);
  for (const video of videos) { if (start) { video.currentTime = 0; video.play().catch(() => {}); } else video.pause(); }
}

// ---- keys ----------------------------------------------------------------------------------------------------------
const writes = (target) => target.matches?.("input, textarea, select");
function chosen() { // in a row's dialog: the video that has the focus, else the one that the results show
  const node = document.activeElement?.closest?.(".version");
  return node?.card ?? opened?.videos.find((card) => card.generation === currentCard()?.generation) ?? opened?.videos.at(-1);
}
const moves = { ArrowRight: () => 1, ArrowLeft: () => -1, ArrowDown: () => shape.columns, ArrowUp: () => -shape.columns,
  PageDown: () => shape.columns * Math.max(1, Math.floor(innerHeight / shape.height)), PageUp: () => -shape.columns * Math.max(1, Math.floor(innerHeight / shape.height)),
  Home: () => -Infinity, End: () => Infinity };
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("noting").open || $("help").open) return;
  const target = event.target;
  if (writes(target)) { if (event.key === "Escape" && target.id === "search") { target.value = ""; change(); goTo(0); } return; }
  const card = detail.open ? chosen() : currentCard();
  const acts = { a: () => judge(card, { verdict: "approved" }), r: () => judge(card, { verdict: "rejected" }),
    A: () => judge(card, { verdict: "approved" }, true), R: () => judge(card, { verdict: "rejected" }, true),
    n: () => note(card), z: undo, "?": () => $("help").showModal(), "/": () => { $("search").focus(); $("search").select(); } };
  if (detail.open && ["/", "A", "R"].includes(event.key)) return;
  if (acts[event.key]) { event.preventDefault(); acts[event.key](); return; }
  if (detail.open) { if (event.key === " " && !target.closest("button, video")) { event.preventDefault(); comparing(); } return; }
  const onCard = target === document.body || target.matches?.(".card") || grid.contains(target);
  if (!onCard) return;
  if (moves[event.key]) { event.preventDefault(); stop(); goTo(event.key.startsWith("Arrow") && !list.current ? list.at : list.at + moves[event.key]()); return; }
  if (target.closest?.("button")) return;
  if (event.key === " ") { event.preventDefault(); const node = nodes.get(list.at); if (node) toggle(node); }
  if (event.key === "Enter") { event.preventDefault(); open(card); }
  if (event.key === "Escape") stop();
});

// ---- the mouse -----------------------------------------------------------------------------------------------------
grid.addEventListener("focusin", (event) => {
  const node = event.target.closest(".card");
  if (!node) return;
  list.at = Number(node.dataset.index);
  list.current = list.known.get(list.at) ?? null;
  for (const [each, other] of nodes) other.tabIndex = each === list.at ? 0 : -1;
});
grid.addEventListener("pointerover", (event) => {
  const media = event.target.closest(".media");
  if (media && event.pointerType === "mouse" && !calm.matches) play(media.parentElement);
});
grid.addEventListener("pointerout", (event) => {
  const media = event.target.closest(".media");
  if (media && event.pointerType === "mouse" && !media.contains(event.relatedTarget) && playing?.node === media.parentElement) stop();
});
grid.addEventListener("click", (event) => {
  const node = event.target.closest(".card");
  if (!node) return;
  const index = Number(node.dataset.index), card = list.known.get(index), button = event.target.closest("button");
  if (button?.matches(".yes")) flip(card, "approved");
  else if (button?.matches(".no")) flip(card, "rejected");
  else if (button?.matches(".note")) note(card);
  else if (button?.matches(".more")) open(card);
  else if (button?.matches(".play")) { if (event.detail === 0 || event.pointerType !== "mouse" || calm.matches) toggle(node); }
  if (!button || button.matches(".play")) node.focus({ preventScroll: true });
});
grid.addEventListener("dblclick", (event) => { if (event.target.closest(".media")) open(currentCard()); });
for (const button of document.querySelectorAll("dialog .close")) button.addEventListener("click", () => button.closest("dialog").close());
$("help-open").addEventListener("click", () => $("help").showModal());
$("side-toggle").addEventListener("click", () => {
  $("side-toggle").setAttribute("aria-expanded", String($("side").classList.toggle("opened")));
});

// ---- filters -------------------------------------------------------------------------------------------------------
function marked() {
  for (const name of filters) $(name).classList.toggle("set", name !== "sort" && $(name).value !== "");
  $("clear").hidden = !["state", "verdict", "model", "error", "search"].some((name) => $(name).value);
  for (const button of document.querySelectorAll("[data-filter]")) {
    button.setAttribute("aria-pressed", String($(button.dataset.filter).value === button.dataset.value));
  }
}
function change() {
  stop();
  marked();
  if (!report) {
    const query = new URLSearchParams(Object.entries(wanted()).filter(([name, value]) => value && !(name === "sort" && value === "row")));
    history.replaceState(null, "", query.size ? `?${query}` : "./");
  }
  return restart(false);
}
for (const name of filters) $(name).addEventListener("change", change);
let typing; // set while the list does not show what was typed
$("search").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => { typing = undefined; change(); }, 180); });
$("search").addEventListener("keydown", async (event) => {
  if (event.key !== "Enter" && event.key !== "ArrowDown") return;
  event.preventDefault();
  if (typing) { clearTimeout(typing); typing = undefined; await change(); }
  goTo(0);
});
$("clear").addEventListener("click", () => { for (const name of ["state", "verdict", "model", "error", "search"]) $(name).value = ""; change(); });
$("changed").addEventListener("click", () => restart(true));
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-filter]");
  if (!button) return;
  const select = $(button.dataset.filter);
  select.value = select.value === button.dataset.value ? "" : button.dataset.value;
  change();
});

// ---- the side bar --------------------------------------------------------------------------------------------------
function choices(name, entries) {
  const select = $(name), value = select.value || new URLSearchParams(location.search).get(name) || "";
  const options = entries.map(([each, label]) => Object.assign(make("option", label), { value: each }));
  const text = JSON.stringify(entries);
  if (select.stamp === text) return;
  select.stamp = text;
  select.replaceChildren(select.options[0], ...options);
  if (value && !entries.some(([each]) => each === value)) select.append(Object.assign(make("option", value), { value }));
  select.value = value;
}
function bar(name, label, amount, share, value, state) {
  const line = make("li"), button = make("button"), track = make("span", null, "bar"), filled = make("i");
  Object.assign(button, { type: "button" });
  Object.assign(button.dataset, { filter: name, value });
  if (state) button.dataset.state = state;
  filled.style.width = `${Math.max(share * 100, share > 0 ? 1.5 : 0)}%`;
  track.append(filled);
  button.append(make("span", label, "name"), make("span", amount, "amount"), track);
  button.setAttribute("aria-pressed", String($(name).value === value));
  line.append(button);
  return line;
}
const drawn = {};
function redraw(id, key, build) { // keeps the focus where nothing changed
  const text = JSON.stringify(key);
  if (drawn[id] === text) return;
  drawn[id] = text;
  const focused = document.activeElement?.dataset?.value, within = $(id).contains(document.activeElement);
  $(id).replaceChildren(...build());
  if (within && focused !== undefined) [...$(id).querySelectorAll("button")].find((button) => button.dataset.value === focused)?.focus();
}
function drawSummary(sum) {
  const { approved, rejected, none, noted: withNote } = sum.reviewed, judged = approved + rejected, share = (part) => (sum.complete ? part / sum.complete : 0);
  choices("state", Object.keys(sum.states).map((each) => [each, words(each)]));
  choices("verdict", Object.entries(VERDICTS));
  choices("model", Object.keys(sum.models).map((each) => [each, each]));
  choices("error", Object.entries(sum.errors).map(([each, rows]) => [each, `${each} (${number(rows)})`]));
  $("judged").textContent = `${sum.complete ? Math.floor(share(judged) * 100) : 0} %`;
  $("judged-of").textContent = `${number(judged)} of ${number(sum.complete)} videos judged`;
  $("progress").setAttribute("aria-label", `${number(approved)} approved, ${number(rejected)} rejected, ${number(none)} not judged`);
  $("progress").querySelector(".yes").style.width = `${share(approved) * 100}%`;
  $("progress").querySelector(".no").style.width = `${share(rejected) * 100}%`;
  redraw("verdicts", sum.reviewed, () => Object.entries({ approved, rejected, none, noted: withNote }).map(([each, rows]) => {
    const line = make("li"), button = make("button");
    button.type = "button";
    Object.assign(button.dataset, { filter: "verdict", value: each });
    button.append(make("b", number(rows)), ` ${VERDICTS[each].toLowerCase()}`);
    button.setAttribute("aria-pressed", String($("verdict").value === each));
    line.append(button);
    return line;
  }));
  redraw("states", sum.states, () => Object.entries(sum.states).map(([each, rows]) => bar("state", words(each), number(rows), rows / sum.rows, each, each)));
  const spent = sum.credits.charged - sum.credits.refunded, most = Math.max(1, ...Object.values(sum.credits_by_model));
  $("spent").textContent = number(spent);
  $("dollars").textContent = `credits${sum.dollars === null ? "" : `, ${sum.dollars.toLocaleString("en", { style: "currency", currency: "USD" })}`}`;
  redraw("models", sum.credits_by_model, () => Object.entries(sum.credits_by_model).map(([each, paid]) => bar("model", each, number(paid), paid / most, each)));
  const money = { Estimated: sum.credits.estimated, Charged: sum.credits.charged, Refunded: sum.credits.refunded, Reserved: sum.credits.reserved, "In doubt": sum.credits.in_doubt };
  redraw("money", money, () => Object.entries(money).filter(([name, value]) => value || name === "Charged").flatMap(([name, value]) => [make("dt", name), make("dd", number(value))]));
  redraw("curve", sum.curve, () => curve(sum.curve));
  const following = $("following");
  if (report) { following.textContent = "report"; return; }
  following.dataset.on = sum.running ? "yes" : "no";
  following.textContent = sum.running ? "a run is going on" : "no run";
}
function curve(points) {
  const ends = $("curve-ends").children;
  $("curve").hidden = points.length < 2;
  $("curve-ends").hidden = points.length < 2;
  if (points.length < 2) return [];
  const [from] = points[0], [to, total] = points.at(-1), wide = Math.max(to - from, 1e-3), high = Math.max(total, 1);
  const at = points.map(([time, paid]) => `${(((time - from) / wide) * 240).toFixed(2)},${(60 - (paid / high) * 56).toFixed(2)}`);
  at.push(`240,${at.at(-1).split(",")[1]}`); // of one request, and of all in one moment, too
  const draw_ = (className, d) => {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("class", className);
    path.setAttribute("d", d);
    return path;
  };
  const day = to - from > 86400 ? { dateStyle: "medium" } : { timeStyle: to - from > 120 ? "short" : "medium" };
  const [began, ended] = [from, to].map((time) => new Date(time * 1000).toLocaleString([], day));
  ends[0].textContent = began;
  ends[1].textContent = ended === began ? "" : ended;
  $("curve").setAttribute("aria-label", `Credits over time: ${number(total)} at the end`);
  return [draw_("area", `M${at.join("L")}L240,64L0,64Z`), draw_("stroke", `M${at.join("L")}`)];
}

// ---- following a run ------------------------------------------------------------------------------------------------
async function refreshSummary() {
  try { drawSummary(await source.summary()); return true; } catch (error) {
    $("following").dataset.on = "lost";
    $("following").textContent = "no connection";
    return false;
  }
}
async function follow() {
  const began = performance.now();
  if (!document.hidden && (await refreshSummary())) await refreshCards();
  setTimeout(follow, Math.max(POLL_MS, 5 * (performance.now() - began)));
}
async function refreshCards() { // those that are seen; where verdicts decide what is shown, nothing moves by itself
  const seen = [...nodes.keys()];
  if (!seen.length && list.rows) return;
  const turn = list.turn, asked = wanted(), byVerdict = asked.verdict !== "";
  const pages = new Set((seen.length ? seen : [0]).map((index) => Math.floor(index / PAGE) * PAGE));
  for (const page of pages) {
    const found = await source.cards(asked, page, PAGE).catch(() => null);
    if (!found || turn !== list.turn) return;
    const moved = found.rows !== list.rows || found.cards.some((card, offset) => { const known = list.known.get(page + offset); return known && !same(known, card); });
    if (moved && byVerdict) { $("changed").hidden = false; return; }
    if (moved) { const kept = list.current; list.known.clear(); list.asked.clear(); take(found, page, turn); list.asked.add(page); keepPlace(kept); } else take(found, page, turn);
  }
}
function keepPlace(card) { // rows have moved: the focus stays with its row
  const index = card ? indexOf(card.key) : undefined;
  if (index === undefined || index === list.at) return;
  const had = grid.contains(document.activeElement);
  list.at = index;
  list.current = list.known.get(index);
  if (had) goTo(index);
}

// ---- the report's own parts -----------------------------------------------------------------------------------------
function openQuestions() {
  const lists = [["Failed", data.open.failed], ["In doubt", data.open.in_doubt], ["Held", data.open.held]].filter(([, found]) => found.rows);
  $("open").hidden = !lists.length;
  $("open-lists").replaceChildren(...lists.map(([title, found]) => {
    const part = make("div"), rows = make("ul");
    rows.append(...found.first.map((line) => {
      const item = make("li");
      item.append(make("b", line.key), " ", make("span", [line.state ? words(line.state) : "", line.what].filter(Boolean).join(": ")));
      return item;
    }));
    part.append(make("h3", `${title} (${number(found.rows)})`), rows);
    if (found.rows > found.first.length) part.append(make("p", `The first ${number(found.first.length)} of ${number(found.rows)}: the filter by state, at the top, shows all of them${title === "Held" ? " (pending)" : ""}.`));
    return part;
  }));
  $("written").textContent = `Written ${when(data.written_at)}`;
}

// ---- begin ---------------------------------------------------------------------------------------------------------
addEventListener("resize", () => { size(); draw(); });
addEventListener("scroll", () => requestAnimationFrame(draw), { passive: true });
(async () => {
  const stated = new URLSearchParams(location.search);
  if (!report && stated.get("search")) $("search").value = stated.get("search");
  if (!report && ["cost", "time"].includes(stated.get("sort"))) $("sort").value = stated.get("sort");
  size();
  await refreshSummary();
  await restart(false);
  document.body.dataset.ready = "yes";
  if (report) openQuestions(); else setTimeout(follow, POLL_MS);
})();
})();
