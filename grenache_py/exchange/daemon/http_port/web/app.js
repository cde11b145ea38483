// The page of one peer: what it knows of the peer, and when which part is drawn.
import { Book, groupOf, grouped } from "./book.js";
import { Chart } from "./chart.js";
import { $, MARK, clock, fill, none, put, remember, remembered, row } from "./dom.js";
import { Form } from "./form.js";
import { Mine } from "./mine.js";
import { Line } from "./net.js";
import { marketOf } from "./num.js";

const LEVELS_SHOWN = 15;
const TRADES_SHOWN = 40;
const DRAW_EVERY_MS = 100;
const STATUS_EVERY_MS = 3000;
const TICKER_EVERY_MS = 15000;
const GROUPS = [1n, 10n, 100n, 1000n];

/** What all parts know. Prices and quantities are whole numbers of the market's units. */
const page = {
  line: null, market: null, book: null, account: "", last: null,
  changed,
  /** Whether orders can be sent and cancelled now. */
  get sendable() { return trading && ready && page.line.state === "live" && !page.line.stale; },
};
let markets = new Map(), trades = [], volume = 0n, rising = true;
let trading = false, ready = false, status = null, fault = "";
let wanted = false, greyed = null, drawing = false, dirty = false;

const line = (page.line = new Line(() => new WebSocket(`${location.origin.replace("http", "ws")}/ws`), {
  live: (hello) => begin(hello).catch(failed), told, changed: showState,
}));
const form = new Form(page);
const mine = new Mine(page, (order) => form.follow(order));
const chart = new Chart(page);

// What comes from the peer.

async function begin(hello) {
  ready = false;
  trading = hello.scopes.includes("trade");
  page.account = hello.account ?? "";
  $("order-form").hidden = $("mine").hidden = !trading;
  $("looking").hidden = trading;
  const [listed, state] = await Promise.all([line.call("markets.list"), line.call("status")]);
  status = state;
  markets = new Map(listed.markets.map((each) => [each.market, marketOf(each)]));
  const chosen = page.market?.symbol ?? remembered("localStorage", "market");
  $("market").replaceChildren(...[...markets.keys()].map((name) => new Option(name)));
  if (markets.has(chosen)) $("market").value = chosen;
  page.market = null; // what was followed ended with the old line
  await watch($("market").value);
  ready = true;
  await form.resume();
}

async function watch(symbol) {
  const before = page.market;
  if (before) {
    line.call("book.unsubscribe", { market: before.symbol }).catch(failed);
    line.call("trades.unsubscribe", { market: before.symbol }).catch(failed);
  }
  const market = (page.market = markets.get(symbol));
  page.book = page.last = null;
  trades = [];
  remember("localStorage", "market", symbol);
  $("group").replaceChildren(...GROUPS.map((by) => new Option(market.priceText(market.tickUnits * by), by)));
  const own = trading && (before ? mine.remember(market) : mine.start());
  await Promise.all([followBook(), followTrades(), chart.start(), readTicker(), own]);
}

async function followBook() {
  const { market } = page;
  page.book = null;
  const snapshot = await line.call("book.subscribe", { market: market.symbol });
  if (market !== page.market) return;
  const book = new Book(market);
  page.book = book.start(snapshot) ? book : null;
  if (!page.book) throw new Error("The book does not match its checksum.");
  changed();
}

async function followTrades() {
  const { market } = page;
  const answer = await line.call("trades.subscribe", { market: market.symbol, limit: TRADES_SHOWN });
  if (market !== page.market) return;
  trades = [];
  traded(answer.trades);
}

async function readTicker() {
  const { market } = page;
  const ticker = await line.call("ticker.get", { market: market.symbol });
  if (market !== page.market) return;
  volume = market.quantity(ticker.volume);
  if (ticker.last) page.last = market.price(ticker.last);
  changed();
}

function traded(fresh) {
  for (const trade of fresh) {
    const price = page.market.price(trade.price);
    if (page.last !== null && price !== page.last) rising = price > page.last;
    page.last = price;
  }
  trades = trades.concat(fresh).slice(-TRADES_SHOWN);
  changed();
}

function told(method, params) {
  if (method === "gap") {
    const kind = params.subscription.split(":")[0];
    ({ book: followBook, trades: followTrades, orders: () => mine.start() })[kind]().catch(failed);
  } else if (method === "orders.update") {
    mine.update(params.order);
  } else if (params.market !== page.market?.symbol) {
    return;
  } else if (method === "book.update") {
    if (page.book && !page.book.apply(params)) followBook().catch(failed);
    changed();
  } else if (method === "trades.update") {
    for (const trade of params.trades) volume += page.market.quantity(trade.quantity);
    chart.traded(params.trades);
    traded(params.trades);
  }
}

/** A part was not to be had: the bar says so until it is. */
function failed(error) {
  if (line.state === "live") fault = error.message;
  showState();
}

setInterval(async () => {
  if (line.state !== "live") return;
  try {
    status = await line.call("status");
    if (fault) await begin(line.hello);
    fault = "";
  } catch (error) { failed(error); }
  showState();
}, STATUS_EVERY_MS);
setInterval(() => { if (ready && line.state === "live") readTicker().catch(() => {}); }, TICKER_EVERY_MS);

// What is shown.

/** Draw soon, at most ten times a second, and only what is seen. */
function changed() {
  dirty = true;
  if (drawing || document.hidden) return;
  drawing = true;
  setTimeout(() => requestAnimationFrame(() => {
    drawing = false;
    draw();
  }), DRAW_EVERY_MS);
}
document.onvisibilitychange = () => { if (dirty) changed(); };

function draw() {
  dirty = false;
  if (!page.market) return;
  drawHead();
  drawBook();
  drawTrades();
  chart.drawDepth();
  chart.draw(trading ? mine.here() : [], trading ? [...mine.fills.values()] : []);
  if (trading) {
    form.show();
    mine.draw();
  }
}

function drawHead() {
  const { market, book, last } = page, bid = book?.bid ?? null, ask = book?.ask ?? null;
  const text = (price) => (price === null ? "–" : market.priceText(price));
  put($("last"), last === null ? "–" : `${rising ? "▲" : "▼"} ${text(last)}`);
  $("last").className = rising ? "buy" : "sell";
  put($("bid"), text(bid));
  put($("ask"), text(ask));
  put($("spread"), bid === null || ask === null ? "–" : text(ask - bid));
  put($("volume"), market.quantityText(volume));
  document.title = `${greyed ? "✕" : text(last)} ${market.symbol} · Exchange`;
}

function drawBook() {
  const { market, book } = page;
  const step = market.tickUnits * BigInt($("group").value);
  const own = new Map();
  if (trading) {
    for (const order of mine.here()) {
      if (!order.price || (order.stop_price && !order.triggered)) continue;
      const key = `${order.side} ${groupOf(order.side, market.price(order.price), step)}`;
      own.set(key, (own.get(key) ?? 0n) + market.quantity(order.remaining));
    }
  }
  const shown = (side) => (book ? grouped(book[side], side, step, LEVELS_SHOWN) : []);
  const asks = shown("sell").reverse(), bids = shown("buy");
  const most = Math.max(Number(asks[0]?.sum ?? 1n), Number(bids.at(-1)?.sum ?? 1n));
  for (const [side, body, levels] of [["sell", $("asks"), asks], ["buy", $("bids"), bids]]) {
    if (!levels.length) {
      none(body, book ? `Nobody ${side === "sell" ? "sells" : "buys"} here.` : "The book is being read.");
      continue;
    }
    fill(body, levels, () => {
      const made = row("Price", "Quantity", "Total");
      made.cells[0].append(document.createElement("span"), document.createElement("small"));
      made.cells[2].className = "bar";
      return made;
    }, (made, level) => {
      const mark = own.get(`${side} ${level.price}`);
      put(made.cells[0].firstChild, market.priceText(level.price));
      put(made.cells[0].lastChild, mark ? ` ◂ ${market.quantityText(mark)}` : "");
      put(made.cells[1], market.quantityText(level.quantity));
      put(made.cells[2], market.quantityText(level.sum));
      made.cells[2].style.backgroundSize = `${Math.round((100 * Number(level.sum)) / most)}% 100%`;
    });
  }
  put($("spread-row"), book && book.bid !== null && book.ask !== null
    ? `spread ${market.priceText(book.ask - book.bid)}` : "no spread");
}

function drawTrades() {
  const { market } = page, body = $("trades-rows");
  if (!trades.length) return none(body, "Nothing has traded yet.");
  fill(body, trades.toReversed(), () => row("Time", "Price", "Quantity"), (made, trade) => {
    made.className = trade.side;
    put(made.cells[0], clock(trade.time));
    put(made.cells[1], `${MARK[trade.side]} ${market.priceText(market.price(trade.price))}`);
    put(made.cells[2], market.quantityText(market.quantity(trade.quantity)));
  });
}

const GOOD = { serving: true, store: "ok", synced: true };

/** The badge's word and mark, its class, and the bar's sentence. */
function stateNow() {
  const seen = line.heardAt ? `What you see is from ${clock(line.heardAt)}. ` : "";
  const asked = form.press ? "; the one under way will be asked about" : "";
  const off = `${seen}Orders can be neither sent nor cancelled${asked}.`;
  if (line.state === "token") return ["◌ Token needed", "token", line.wrong || "This peer serves who shows a token."];
  if (line.state !== "live") return ["✕ Disconnected", "off", `The peer cannot be reached. ${off}`];
  if (line.stale) return ["▲ Stale", "off", `The peer is silent. ${off}`];
  const { alarms = [], serving, listening, store, links, synced } = status ?? GOOD;
  if (alarms.length) return ["▲ Alarm", "alarm", `The peer has an alarm: ${alarms.join("; ")}.`];
  if (!serving || store !== "ok") {
    const why = listening ? "it listens first whether others know orders of its own" : `store: ${store}`;
    return ["▲ Alarm", "alarm", `The peer takes no orders now: ${why}.`];
  }
  if (fault) return ["▲ Alarm", "alarm", fault];
  if (links === 0) return ["◐ Alone", "syncing", "No link to another peer: you see the orders of this one only."];
  if (!synced) return ["◐ Syncing", "syncing", "The peer is still reading what others offer: some may be missing."];
  return ["● Live", "live", ""];
}

function showState() {
  const [word, kind, text] = stateNow(), { retryInS } = line;
  put($("badge-word"), word);
  const trying = retryInS ? `, trying again in ${retryInS} s` : ", trying";
  put($("badge-more"), line.state === "live" || line.state === "token" ? "" : trying);
  $("badge").className = kind;
  put($("bar"), text);
  $("bar").hidden = !text;
  $("bar").className = kind;
  $("login").hidden = line.state !== "token" && (trading || !wanted);
  const grey = kind === "off" || kind === "token";
  if (grey !== greyed) {
    greyed = grey;
    document.body.classList.toggle("old", grey);
    chart.theme();
  }
  $("cancel-all").setAttribute("aria-disabled", !page.sendable);
  showFacts();
  changed();
}

function showFacts() {
  const { hello } = line;
  if (!hello) return;
  put($("whose"), `Peer ${hello.peer.slice(0, 8)}, network ${hello.network}, version ${hello.version}`);
  if ($("facts").hidden || !status) return;
  const yes = (is) => (is ? "yes" : "no"), origins = Object.values(status.origins ?? {});
  const facts = {
    peer: hello.peer.slice(0, 16), network: hello.network, version: hello.version, account: page.account || "none",
    "up for": `${Math.floor(status.uptime_s / 60)} min`, synced: yes(status.synced), serving: yes(status.serving),
    links: status.links, "peers known": origins.length, "with orders": origins.filter((each) => each.live).length,
    "fills in doubt": status.fills?.in_doubt, alarms: status.alarms?.join("; ") || "none",
    "last heard": clock(line.heardAt),
  };
  if (!$("facts").childElementCount) {
    for (const name in facts) {
      const pair = $("facts").appendChild(document.createElement("div"));
      pair.append(document.createElement("dt"), document.createElement("dd"));
      pair.firstChild.textContent = name;
    }
  }
  Object.values(facts).forEach((value, at) => put($("facts").children[at].lastChild, String(value)));
}

// What people do.

$("badge").onclick = () => {
  $("facts").hidden = !$("facts").hidden;
  $("badge").setAttribute("aria-expanded", !$("facts").hidden);
  showFacts();
};
$("market").onchange = () => watch($("market").value).catch(failed);
$("group").onchange = $("within").onchange = changed;
$("show-login").onclick = () => {
  wanted = true;
  showState();
  $("token").focus();
};
$("login").onsubmit = (event) => {
  event.preventDefault();
  line.show($("token").value);
  $("token").value = "";
};
$("book").onclick = (event) => {
  const cell = event.target.closest("td"), made = cell?.parentElement;
  if (!trading || made?.cells.length !== 3) return;
  form.take(made.cells[0].firstChild.textContent, cell.cellIndex ? made.cells[2].textContent : "");
  showTab("order");
};
for (const button of document.querySelectorAll("#tabs button")) button.onclick = () => showTab(button.value);

function showTab(name) {
  document.body.dataset.tab = name;
  for (const button of document.querySelectorAll("#tabs button")) {
    button.setAttribute("aria-pressed", button.value === name);
  }
}

$("question-yes").onclick = () => $("question").close("yes");
$("question-no").onclick = () => $("question").close("no");
$("help-close").onclick = () => $("help").close();
$("help-button").onclick = () => $("help").showModal();

const ACTS = {
  b: () => focusOn("buy"), s: () => focusOn("sell"), p: () => focusOn("price"), q: () => focusOn("quantity"),
  x: () => trading && mine.cancelAll(), "?": () => $("help").showModal(),
  Escape: () => form.empty(),
};

function focusOn(id) {
  if (!trading) return;
  if (id === "price" && !form.has("price")) id = form.has("stop") ? "stop" : "quantity";
  showTab("order");
  $(id).focus();
}

document.onkeydown = (event) => {
  const { target, key } = event, field = target.closest("input, select, textarea");
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (!ACTS[key] || (key !== "Escape" && !$("keys").checked)) return;
  // A field for a number knows no letters; in others a key is what it always is.
  if (field && key !== "Escape" && field.inputMode !== "decimal") return;
  if (key === "Escape" && field && !field.closest("#order-form")) return;
  event.preventDefault();
  ACTS[key]();
};

$("keys").checked = remembered("localStorage", "keys") !== "off";
$("keys").onchange = () => remember("localStorage", "keys", $("keys").checked ? "on" : "off");
$("colours").value = remembered("localStorage", "colours") ?? "green";
$("colours").onchange = () => {
  remember("localStorage", "colours", $("colours").value);
  colours();
};

function colours() {
  document.documentElement.dataset.colours = $("colours").value;
  chart.theme();
}

matchMedia("(prefers-color-scheme: dark)").onchange = () => chart.theme();
colours();
showTab("chart");
line.start();
