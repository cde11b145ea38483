// The page of one peer: what is followed and drawn, what people do but for orders.
import { Book, groupOf, grouped } from "./book.js";
import * as chart from "./chart.js";
import * as form from "./form.js";
import * as mine from "./mine.js";
import { Line } from "./net.js";
import { marketOf } from "./num.js";
import { $, MARK, clock, list, made, padded, page, put, remember, remembered } from "./page.js";

const LEVELS_SHOWN = 15;
const TRADES_SHOWN = 40;
const DRAW_EVERY_MS = 100;
const TICK_MS = 500;
const GROUPS = [1n, 10n, 100n, 1000n];

let markets = new Map(), trades = [], volume = 0n, rising = true;
let fault = "", drawing = false, reads = false;

const line = page.line = new Line({ open: () => new WebSocket("/ws"), live, told, changed: showState });

// What comes from the peer.

async function live() {
  page.ready = false;
  reads = standsBy();
  page.trading = !reads && line.hello.scopes.includes("trade");
  page.account = line.hello.account ?? "";
  $("order-form").hidden = $("mine").hidden = !page.trading;
  try {
    const answer = await line.call("markets.list"), chosen = remembered("market");
    markets = new Map(answer.markets.map((each) => [each.market, marketOf(each)]));
    $("market").replaceChildren(...[...markets.keys()].map((name) => new Option(name)));
    if (markets.has(chosen)) $("market").value = chosen;
    page.market = null; // what was followed ended with the old line
    await watch();
    page.ready = true;
    fault = "";
    form.resume();
  } catch (error) { failed(error); }
  showState();
}

/** A part was not to be had: the bar says so. */
function failed(error) {
  if (line.state === "live") fault = error.message;
}

async function watch() {
  const before = page.market, market = page.market = markets.get($("market").value);
  for (const kind of before && !reads ? ["book", "trades"] : []) {
    line.call(`${kind}.unsubscribe`, { market: before.symbol }).catch(failed);
  }
  page.book = page.last = null;
  trades = [];
  remember("market", market.symbol);
  $("group").replaceChildren(...GROUPS.map((by) => new Option(market.priceText(market.priceStep * by), by)));
  await Promise.all([follow(), readTicker(), chart.start(), page.trading && mine.start()]);
}

/** Where the peer stands by, this is read with each status. */
function follow() {
  const { market } = page, of = { market: market.symbol }, after = trades.at(-1)?.trade_id;
  return Promise.all([
    page.ask(reads ? "book.get" : "book.subscribe", of, (told) => { page.book = new Book(market, told); }),
    page.ask(reads ? "trades.list" : "trades.subscribe", { ...of, limit: TRADES_SHOWN, after }, (told) => traded(told.trades)),
  ]);
}

const standsBy = () => line.status.store === "standby";

const readTicker = () => page.ask("ticker.get", { market: page.market.symbol }, (ticker) => {
  volume = page.market.quantity(ticker.volume);
});

function traded(fresh) {
  for (const trade of fresh) {
    const price = page.market.price(trade.price);
    if (page.last !== null && price !== page.last) rising = price > page.last;
    page.last = price;
    volume += page.market.quantity(trade.quantity);
    chart.traded(trade);
  }
  trades = trades.concat(fresh).slice(-TRADES_SHOWN);
}

function told(method, params) {
  if (method === "status.update") {
    if (fault || reads !== standsBy()) live();
    else if (reads && page.ready) follow().catch(failed);
    else if (params.uptime_s % 60 === 0) Promise.all([readTicker(), chart.start(false)]).catch(() => {});
    showState();
  } else if (method === "orders.update") mine.update(params.order);
  else if (method === "executions.update") mine.executed(params);
  else if (params.market !== page.market?.symbol) return;
  else if (method === "trades.update") traded(params.trades);
  else if (page.book?.apply(params) === false) line.lose(); // an update is missing: begin anew
  page.changed();
}

// What is shown.

/** Draw soon, at most ten times a second, and only what is seen. */
page.changed = () => {
  if (drawing) return;
  drawing = true;
  setTimeout(() => requestAnimationFrame(() => {
    drawing = false;
    if (page.market) draw();
  }), DRAW_EVERY_MS);
};

function draw() {
  const own = page.trading ? mine.here() : [];
  drawHead();
  drawBook(own);
  list($("trades-rows"), ["Time", "Price", "Quantity"], trades.toReversed(), (trade, row) => {
    row.className = trade.side;
    return [clock(trade.time), `${MARK[trade.side]} ${padded("price", trade.price)}`, padded("quantity", trade.quantity)];
  }, "Nothing has traded yet.");
  chart.drawDepth();
  chart.draw(own, page.trading ? mine.fills : []);
  if (!page.trading) return;
  form.show();
  mine.draw();
}

function drawHead() {
  const { market, last } = page, { bid = null, ask = null } = page.book ?? {};
  const text = (price) => (price === null ? "–" : market.priceText(price));
  const spread = bid === null || ask === null ? null : ask - bid;
  const texts = {
    last: last === null ? "–" : `${rising ? "▲" : "▼"} ${text(last)}`, bid: text(bid), ask: text(ask),
    spread: text(spread), "spread-row": `spread ${text(spread)}`, volume: market.quantityText(volume),
  };
  for (const id in texts) put($(id), texts[id]);
  $("last").className = rising ? "buy" : "sell";
  document.title = `${document.body.className ? "✕" : text(last)} ${market.symbol} · Exchange`;
}

function drawBook(orders) {
  const { market, book } = page, { quantityText: amount } = market;
  const step = market.priceStep * BigInt($("group").value), own = new Map();
  for (const order of orders) {
    if (!order.price || (order.stop_price && !order.triggered)) continue;
    const key = `${order.side} ${groupOf(order.side, market.price(order.price), step)}`;
    own.set(key, (own.get(key) ?? 0n) + market.quantity(order.remaining));
  }
  const [asks, bids] = ["sell", "buy"].map((side) => grouped(book?.[side] ?? [], side, step, LEVELS_SHOWN));
  const most = Math.max(...[asks, bids].map((levels) => Number(levels.at(-1)?.sum ?? 1n)));
  asks.reverse();
  for (const [side, body, levels] of [["sell", $("asks"), asks], ["buy", $("bids"), bids]]) {
    list(body, ["Price", "Yours", "Quantity", "Total"], levels, ({ price, quantity, sum }, row) => {
      const mark = own.get(`${side} ${price}`);
      row.cells[3].style.backgroundSize = `${Math.round((100 * Number(sum)) / most)}% 100%`;
      return [market.priceText(price), mark ? `◂ ${amount(mark)}` : "", amount(quantity), amount(sum)];
    }, book ? `Nobody ${side}s here.` : "The book is being read.");
  }
}

/** The badge's word, its class, the bar's sentence, and what else the badge says. */
function stateNow() {
  const asked = form.press ? "; the one under way will be asked about" : "";
  const off = `What you see is from ${clock(line.heardAt)}. Orders can be neither sent nor cancelled${asked}.`;
  if (line.state === "token") return ["◌ Token needed", "token", "This peer serves who shows a token."];
  if (line.state !== "live") {
    const again = line.retryInS ? `, trying again in ${line.retryInS} s` : ", trying";
    return ["✕ Disconnected", "off", `The peer cannot be reached. ${line.heardAt ? off : ""}`, again];
  }
  if (line.stale) return ["▲ Stale", "off", `The peer is silent. ${off}`];
  const { raised, serving, listening, store, links, synced, database } = line.status;
  if (raised.some(({ level }) => level === "alarm")) return ["▲ Alarm", "alarm", ""];
  if (reads) {
    const by = database.holder || "nobody";
    return ["◐ Standby", "syncing", `Orders are taken by ${by}. You see what was stored ${database.age_s} s ago.`];
  }
  if (!serving || store !== "ok") {
    const why = listening ? "it first asks others for orders of its own" : `store: ${store}`;
    return ["▲ Alarm", "alarm", `The peer takes no orders now: ${why}.`];
  }
  if (fault) return ["▲ Alarm", "alarm", fault];
  if (links === 0) return ["◐ Alone", "syncing", "No link to another peer: you see the orders of this one only."];
  if (!synced) return ["◐ Syncing", "syncing", "The peer is still reading what others offer: some may be missing."];
  return ["● Live", "live", ""];
}

function showState() {
  const [word, kind, text, more = ""] = stateNow(), badge = $("badge");
  put($("badge-word"), word);
  put($("badge-more"), more);
  if (kind === "token" && badge.className !== kind) showTab("order");
  badge.className = kind;
  const sentences = [{ level: kind, text }, { level: "alarm", text: line.wrong }].filter((each) => each.text);
  const raised = line.state === "live" && !line.stale ? line.status.raised : [];
  sentences.push(...raised.map((each) => ({ ...each, text: `${each.id}: ${each.text}` })));
  $("bar").hidden = !sentences.length;
  list($("sentences"), ["", ""], sentences, ({ id, level, text: said }, row) => {
    const look = { target: "_blank", textContent: "What to do" }, [, cell] = row.cells;
    const link = cell.firstChild ?? cell.appendChild(made("a", look));
    link.href = `/alarms#alarm-${id}`;
    link.hidden = !id;
    row.className = level;
    return [said];
  });
  document.body.classList.toggle("old", kind === "off" || kind === "token");
  $("login").hidden = page.trading || reads || !line.hello;
  $("cancel-all").ariaDisabled = !page.sendable;
  showFacts();
  page.changed();
}

function showFacts() {
  const { hello, status } = line;
  if (!status) return;
  put($("whose"), `Peer ${hello.peer.slice(0, 8)}, network ${hello.network}, version ${hello.version}`);
  if ($("facts").hidden) return;
  const { origins = {}, fills, links, raised } = status;
  list($("facts-rows"), ["", ""], Object.entries({
    peer: hello.peer, account: page.account || "none", links, origins: Object.keys(origins).length,
    "fills in doubt": fills?.in_doubt, alarms: raised.length, "last heard": clock(line.heardAt),
  }), (pair) => pair.map(String));
}

// What people do.

$("badge").onclick = () => {
  $("facts").hidden = !$("facts").hidden;
  $("badge").ariaExpanded = !$("facts").hidden;
  showFacts();
};
$("market").onchange = () => {
  form.empty(); // a price of one market is none of another
  watch().catch(failed);
};
$("group").onchange = $("within").onchange = page.changed;
$("login").onsubmit = (event) => {
  event.preventDefault();
  line.show($("token").value);
  $("token").value = "";
};
$("book").onclick = (event) => {
  const cell = event.target.closest("td"), cells = cell?.parentElement.cells;
  if (!page.trading || cells?.length !== 4) return;
  form.take(cells[0].textContent, cell.cellIndex ? cells[3].textContent : "");
  showTab("order");
};
for (const button of $("tabs").children) button.onclick = () => showTab(button.value);

function showTab(name) {
  for (const button of $("tabs").children) button.ariaPressed = button.value === name;
  for (const part of document.querySelectorAll("section")) part.classList.toggle("away", part.dataset.part !== name);
}

$("help-button").onclick = () => $("help").showModal();

const KEYS = { x: mine.cancelAll, "?": $("help-button").onclick, Escape: form.empty };
for (const id of ["buy", "sell", "price", "quantity"]) {
  KEYS[id[0]] = () => {
    showTab("order");
    $(id).focus();
  };
}
document.onkeydown = (event) => {
  const { target, key } = event, field = target.closest("input, select");
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (!KEYS[key] || (key !== "Escape" && $("no-keys").checked)) return;
  // A field for a number knows no letters; in others a key is what it always is.
  if (field && field.inputMode !== "decimal") return;
  event.preventDefault();
  KEYS[key]();
};

for (const box of $("help").querySelectorAll("input")) {
  box.checked = remembered(box.id) === "yes";
  box.onchange = () => {
    remember(box.id, box.checked ? "yes" : "no");
    chart.theme();
  };
}
matchMedia("(prefers-color-scheme: dark)").onchange = chart.theme;
chart.theme();
showTab("chart");
line.tick();
setInterval(() => line.tick(), TICK_MS);
