// The page of one peer. It speaks the client port's JSON-RPC over /ws, one message a line.
"use strict";

const LEVELS_SHOWN = 12;
const TRADES_SHOWN = 25;
const ORDERS_SHOWN = 20;
const DEPTH_LEVELS = 200;
const PEERS_EVERY_MS = 5000;
const RECONNECT_MS_MAX = 15000;

const $ = (id) => document.getElementById(id);
let socket, nextId, waiting, market, book, trades, orders, trading;
let reconnectMs = 500, peersTimer, drawing = false;

function connect() {
  nextId = 0;
  waiting = new Map();
  market = null;
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(`${scheme}//${location.host}/ws`);
  socket.onopen = () => { reconnectMs = 500; begin(null).catch(say); };
  socket.onmessage = (message) => received(JSON.parse(message.data));
  socket.onclose = () => {
    clearInterval(peersTimer);
    state("not connected, trying again", true);
    setTimeout(connect, reconnectMs);
    reconnectMs = Math.min(reconnectMs * 2, RECONNECT_MS_MAX);
  };
}

function call(method, params = {}) {
  return new Promise((resolve, reject) => {
    const id = ++nextId;
    waiting.set(id, { resolve, reject });
    socket.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
  });
}

function received(message) {
  if (message.method) {
    notified(message.method, message.params);
    return;
  }
  const call = waiting.get(message.id);
  if (!call) return;
  waiting.delete(message.id);
  if (message.error) call.reject(new Error(message.error.message));
  else call.resolve(message.result);
}

async function begin(token) {
  const hello = await call("hello", token ? { client: "page", token } : { client: "page" });
  $("login").hidden = !hello.token_needed;
  if (hello.token_needed) {
    state("this peer asks for a token", true);
    return;
  }
  trading = hello.scopes.includes("trade");
  $("order").hidden = $("own").hidden = !trading;
  document.title = `Exchange ${hello.peer.slice(0, 8)}`;
  state(`peer ${hello.peer.slice(0, 8)}, network ${hello.network}`, false);
  const chosen = $("market").value;
  $("market").replaceChildren(...hello.markets.map((name) => new Option(name)));
  if (hello.markets.includes(chosen)) $("market").value = chosen;
  await watch($("market").value);
  clearInterval(peersTimer);
  peersTimer = setInterval(() => showPeers().catch(say), PEERS_EVERY_MS);
  await showPeers();
}

async function watch(symbol) {
  if (market) {
    await call("book.unsubscribe", { market });
    await call("trades.unsubscribe", { market });
  }
  market = symbol;
  await subscribeBook();
  await subscribeTrades();
  if (trading) await subscribeOrders();
}

async function subscribeBook() {
  book = null;
  const snapshot = await call("book.subscribe", { market });
  const side = (levels) => new Map(levels.map(([price, quantity, n]) => [price, [quantity, n]]));
  book = { seq: snapshot.seq, buy: side(snapshot.bids), sell: side(snapshot.asks) };
  draw();
}

async function subscribeTrades() {
  trades = (await call("trades.subscribe", { market, limit: TRADES_SHOWN })).trades;
  draw();
}

async function subscribeOrders() {
  const snapshot = await call("orders.subscribe");
  orders = new Map(snapshot.orders.map((order) => [order.order_id, order]));
  draw();
}

function notified(method, params) {
  if (method === "gap") {
    const kind = params.subscription.split(":")[0];
    ({ book: subscribeBook, trades: subscribeTrades, orders: subscribeOrders })[kind]().catch(say);
  } else if (method === "book.update" && book && params.market === market) {
    if (params.prev_seq !== book.seq) {
      subscribeBook().catch(say);
      return;
    }
    book.seq = params.seq;
    for (const [side, price, quantity, n] of params.changes) {
      if (quantity === "0") book[side].delete(price);
      else book[side].set(price, [quantity, n]);
    }
    draw();
  } else if (method === "trades.update" && params.market === market) {
    trades = trades.concat(params.trades).slice(-TRADES_SHOWN);
    draw();
  } else if (method === "orders.update" && orders) {
    const order = params.order;
    if (order.remaining === "0") orders.delete(order.order_id);
    else orders.set(order.order_id, order);
    draw();
  }
}

// Prices and quantities stay the strings they came as; numbers are for drawing only.
function sorted(side) {
  const sign = side === "buy" ? -1 : 1;
  return [...book[side]]
    .map(([price, [quantity, n]]) => ({ price, quantity, n }))
    .sort((a, b) => sign * (Number(a.price) - Number(b.price)));
}

function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    if (book) drawBook();
    if (trades) drawTrades();
    if (orders) drawOrders();
  });
}

function row(cells, classes = "") {
  const line = document.createElement("tr");
  line.className = classes;
  for (const text of cells) {
    const cell = document.createElement("td");
    if (text instanceof Node) cell.append(text);
    else cell.textContent = text;
    line.append(cell);
  }
  return line;
}

function fill(id, rows, none) {
  const empty = row([none]);
  empty.firstChild.colSpan = 5;
  $(id).querySelector("tbody").replaceChildren(...(rows.length ? rows : [empty]));
}

const decimals = (text) => (text.split(".")[1] || "").length;

/** Decimal strings with equally many decimals, so that a column is read at a glance. */
function aligned(texts) {
  const most = Math.max(0, ...texts.map(decimals));
  const dot = (text) => (most && !text.includes(".") ? "." : "");
  return texts.map((text) => text + dot(text) + "0".repeat(most - decimals(text)));
}

function drawBook() {
  const bids = sorted("buy"), asks = sorted("sell");
  const shown = [...asks.slice(0, LEVELS_SHOWN), ...bids.slice(0, LEVELS_SHOWN)];
  const most = Math.max(...shown.map((level) => Number(level.quantity)), 0);
  const prices = aligned(shown.map((each) => each.price));
  const quantities = aligned(shown.map((each) => each.quantity));
  const level = (side, each) => {
    const { quantity, n } = each;
    const place = shown.indexOf(each);
    const cells = [side === "buy" ? "bid" : "ask", prices[place], quantities[place], n];
    const line = row(cells, side);
    const cell = line.children[2];
    cell.className = "bar";
    const share = most ? Math.round((100 * Number(quantity)) / most) : 0;
    const color = side === "buy" ? "#0a7d3c33" : "#c22f2f33";
    cell.style.backgroundImage = `linear-gradient(${color}, ${color})`;
    cell.style.backgroundSize = `${share}% 100%`;
    return line;
  };
  const rows = asks.slice(0, LEVELS_SHOWN).reverse().map((each) => level("sell", each));
  if (bids.length && asks.length) {
    const digits = Math.max(decimals(bids[0].price), decimals(asks[0].price));
    const spread = row([`spread ${(Number(asks[0].price) - Number(bids[0].price)).toFixed(digits)}`], "spread");
    spread.firstChild.colSpan = 4;
    rows.push(spread);
  }
  rows.push(...bids.slice(0, LEVELS_SHOWN).map((each) => level("buy", each)));
  fill("book", rows, "No orders stand in this market.");
  $("best").textContent =
    `bid ${bids.length ? bids[0].price : "–"}   ask ${asks.length ? asks[0].price : "–"}`;
  drawDepth(bids.slice(0, DEPTH_LEVELS), asks.slice(0, DEPTH_LEVELS));
}

function drawDepth(bids, asks) {
  const sums = (levels) => {
    let sum = 0;
    return levels.map(({ price, quantity }) => [Number(price), (sum += Number(quantity))]);
  };
  const buy = sums(bids), sell = sums(asks);
  const prices = [...buy, ...sell].map(([price]) => price);
  const low = Math.min(...prices), high = Math.max(...prices);
  const top = Math.max(buy.length ? buy.at(-1)[1] : 0, sell.length ? sell.at(-1)[1] : 0);
  const x = (price) => (high > low ? (600 * (price - low)) / (high - low) : 300);
  const y = (sum) => 300 - (280 * sum) / (top || 1);
  const area = (points, edge) => {
    if (!points.length) return "";
    let path = `M ${x(points[0][0])} 300`, last = 300;
    for (const [price, sum] of points) {
      path += ` L ${x(price)} ${last} L ${x(price)} ${y(sum)}`;
      last = y(sum);
    }
    return `${path} L ${edge} ${last} L ${edge} 300 Z`;
  };
  $("depth-bids").setAttribute("d", area(buy, 0));
  $("depth-asks").setAttribute("d", area(sell, 600));
  $("depth-low").textContent = prices.length ? low : "";
  $("depth-high").textContent = prices.length ? high : "";
  $("depth-mid").textContent = prices.length ? "" : "No orders stand in this market.";
}

const time = (ms) => new Date(ms).toLocaleTimeString([], { hour12: false });

function drawTrades() {
  const newest = trades.slice().reverse();
  const quantities = aligned(newest.map((t) => t.quantity));
  const prices = aligned(newest.map((t) => t.price));
  const rows = newest
    .map((t, place) => row([time(t.time), t.side, quantities[place], prices[place]], t.side));
  fill("trades", rows, "Nothing has traded yet.");
}

function drawOrders() {
  const mine = [...orders.values()].filter((order) => order.market === market);
  const rows = mine.slice(-ORDERS_SHOWN).reverse().map((order) => {
    const cancel = document.createElement("button");
    cancel.textContent = "Cancel";
    cancel.onclick = () => call("order.cancel", { order_id: order.order_id }).catch(answer);
    const status = order.status.replace("_", " ");
    return row([order.side, order.remaining, order.price || "market", status, cancel], order.side);
  });
  fill("orders", rows, "You have no open orders here.");
}

async function showPeers() {
  const { peers } = await call("peers.list");
  const rows = peers.filter((peer) => peer.ready).map((peer) => row([
    peer.peer.slice(0, 8), peer.listen || peer.address, peer.direction,
    peer.latency_ms === null ? "–" : `${peer.latency_ms} ms`,
  ]));
  fill("peers", rows, "No link to another peer.");
}

function state(text, bad) {
  $("state").textContent = text;
  $("state").className = bad ? "bad" : "";
}

const say = (error) => state(error.message, true);
const answer = (error) => { $("answer").textContent = error.message; };

$("market").onchange = () => watch($("market").value).catch(say);
$("login").onsubmit = (event) => {
  event.preventDefault();
  begin($("token").value).catch(say);
};
$("order").onsubmit = (event) => {
  event.preventDefault();
  const price = $("price").value.trim();
  const order = { market, side: event.submitter.value, quantity: $("quantity").value.trim() };
  if (price) order.price = price;
  else order.type = "market";
  call("order.place", order).then((report) => {
    const filled = report.filled === "0" ? "" : `, ${report.filled} filled at ${report.average_price}`;
    answer({ message: `${report.status.replace("_", " ")}${filled}` });
  }).catch(answer);
};

connect();
