// Own orders and fills: what is open, what was filled, what is closed, and cancelling.
import { $, MARK, ask, clock, fill, none, put, row } from "./dom.js";
import { LineLost } from "./net.js";

const FINAL = new Set(["filled", "cancelled", "rejected", "expired"]);
const ROWS_MAX = 100;
const KEPT_MAX = 500;
const COLUMNS = ["Time", "Side", "Type", "Quantity", "Price", "Filled", "Average", "State", ""];
const FILL_COLUMNS = ["Time", "Side", "Quantity", "Price", "Role", "Order"];

export class Mine {
  /** page: as for Form; followed(order) is called with each order that changed. */
  constructor(page, followed) {
    Object.assign(this, { page, followed });
    this.open = new Map(); // by order id
    this.closed = []; // newest first
    this.fills = new Map(); // by trade and order, oldest first
    this.untold = []; // fills that were not read out yet
    this.shown = "open";
    this.rows = new Map(); // rows of the open orders, by id
    for (const name of ["open", "fills", "history"]) {
      $(`show-${name}`).onclick = () => { this.shown = name; this.draw(); };
    }
    $("cancel-all").onclick = () => this.cancelAll();
    $("mine-rows").onclick = (event) => {
      const { id } = event.target.closest("button")?.dataset ?? {};
      if (id) this.cancel(id);
    };
    this.pointed = false; // the mouse is over the rows
    const over = (event) => {
      this.pointed = event.type === "pointerenter" && event.pointerType === "mouse";
      page.changed();
    };
    for (const name of ["pointerenter", "pointerleave"]) $("mine-rows").addEventListener(name, over);
  }

  /** Begin anew: the peer's open orders, and what it remembers of closed ones. */
  async start() {
    const { line, market, account } = this.page;
    const snapshot = await line.call("orders.subscribe", { account });
    this.open = new Map(snapshot.orders.map((order) => [order.order_id, order]));
    if (!snapshot.complete) {
      let after;
      do {
        const page = await line.call("order.list", { account, status: "open", after, limit: 1000 });
        for (const order of page.orders) if (!this.open.has(order.order_id)) this.open.set(order.order_id, order);
        after = page.next;
      } while (after);
    }
    await this.remember(market);
  }

  /** The newest orders of a market, for Fills and History. */
  async remember(market) {
    const { line, account } = this.page;
    const of = { market: market.symbol, account, limit: KEPT_MAX };
    const told = line.hello.features.includes("executions");
    const [{ orders }, { executions }] = await Promise.all([
      line.call("order.list", { ...of, status: "all" }),
      told ? line.call("executions.list", of) : { executions: [] }, // of the newest orders only, without
    ]);
    if (market !== this.page.market) return;
    this.closed = orders.filter((order) => FINAL.has(order.status));
    this.fills.clear();
    for (const one of executions) this.fills.set(`${one.trade_id} ${one.order_id}`, one);
    for (const order of orders) this.note(order);
    this.fills = new Map([...this.fills].sort(([, a], [, b]) => a.time - b.time));
    for (const order of [...this.open.values(), ...this.closed]) this.followed(order);
    this.page.changed();
  }

  /** Keep an order's fills, each once; those that are new. */
  note(order) {
    const fresh = [];
    for (const trade of order.trades) {
      const key = `${trade.trade_id} ${order.order_id}`;
      if (this.fills.has(key) || order.market !== this.page.market.symbol) continue;
      const one = { ...trade, side: order.side, order_id: order.order_id };
      this.fills.set(key, one);
      fresh.push(one);
      if (this.fills.size > KEPT_MAX) this.fills.delete(this.fills.keys().next().value);
    }
    return fresh;
  }

  /** An orders.update. */
  update(order) {
    this.untold.push(...this.note(order));
    if (FINAL.has(order.status)) {
      this.open.delete(order.order_id);
      this.closed = this.closed.filter((each) => each.order_id !== order.order_id);
      if (order.market === this.page.market.symbol) this.closed.unshift(order);
      this.closed.length = Math.min(this.closed.length, KEPT_MAX);
    } else this.open.set(order.order_id, order);
    this.followed(order);
    this.page.changed();
  }

  /** Open orders of this market, newest first. */
  here() {
    const symbol = this.page.market.symbol;
    return [...this.open.values()].filter((order) => order.market === symbol).sort((a, b) => b.time - a.time);
  }

  cancel(order_id) { return this.end("order.cancel", { order_id }, () => ""); }

  async cancelAll() {
    const { market } = this.page, count = this.here().length;
    if (!count) return this.say(`No order is open in ${market.symbol}.`);
    if (!(await ask(`Cancel all ${count} open orders in ${market.symbol}?`, "Cancel them"))) return;
    await this.end("order.cancel_all", { market: market.symbol }, ({ cancelled }) => `${cancelled} orders cancelled.`);
  }

  async end(method, params, done) {
    const { line, account, sendable } = this.page;
    if (!sendable) return;
    try {
      this.say(done(await line.call(method, { ...params, account })));
    } catch (error) {
      this.say(error instanceof LineLost ? "It may not have arrived: look again when the peer is back." : error.message);
    }
  }

  say(text) { put($("mine-answer"), text); }

  /** Tell own fills to who listens. */
  tell() {
    if (!this.untold.length) return;
    const { base } = this.page.market, last = this.untold.at(-1), more = this.untold.length - 1;
    const done = last.side === "buy" ? "Bought" : "Sold";
    put($("fill-told"), `${done} ${last.quantity} ${base} at ${last.price}${more ? `, and ${more} more fills` : ""}.`);
    this.untold = [];
  }

  draw() {
    const here = this.here();
    this.tell();
    put($("show-open"), `Open (${here.length})`);
    put($("show-fills"), `Fills (${this.fills.size})`);
    for (const name of ["open", "fills", "history"]) {
      $(`show-${name}`).setAttribute("aria-pressed", name === this.shown);
    }
    const body = $("mine-rows");
    if (this.drawn !== this.shown) {
      this.drawn = this.shown;
      this.rows.clear();
      body.replaceChildren();
      $("mine-head").replaceChildren(...(this.shown === "fills" ? FILL_COLUMNS : COLUMNS).map((text) => {
        const cell = document.createElement(text ? "th" : "td");
        cell.textContent = text;
        return cell;
      }));
    }
    if (this.shown === "open") this.drawOpen(body, here);
    else if (this.shown === "fills") this.drawFills(body);
    else this.drawClosed(body);
  }

  /** While the mouse is over them no row moves, so that no click lands on another order. */
  drawOpen(body, here) {
    const wanted = new Map(here.map((order) => [order.order_id, order]));
    let ids = [...wanted.keys()];
    if (this.pointed) ids = [...this.rows.keys(), ...ids.filter((id) => !this.rows.has(id))];
    ids = ids.slice(0, ROWS_MAX);
    if (!ids.length) {
      this.rows.clear();
      return none(body, "You have no open orders here.");
    }
    const rows = new Map(ids.map((id) => [id, this.rows.get(id) ?? this.openRow(id)]));
    for (const [id, line] of rows) {
      const order = wanted.get(id) ?? this.closed.find((each) => each.order_id === id);
      if (order) this.showOrder(line, order);
      line.cells[8].firstChild.setAttribute("aria-disabled", !wanted.has(id) || !this.page.sendable);
    }
    if ([...rows.values()].some((line, at) => body.rows[at] !== line) || body.rows.length !== rows.size) {
      body.replaceChildren(...rows.values());
    }
    this.rows = rows;
  }

  openRow(id) {
    const line = row(...COLUMNS), button = document.createElement("button");
    button.type = "button";
    button.dataset.id = id;
    button.textContent = "Cancel";
    line.cells[8].append(button);
    return line;
  }

  showOrder(line, order) {
    const { market } = this.page, quantity = (text) => market.quantityText(market.quantity(text));
    const price = order.price && market.priceText(market.price(order.price));
    line.className = order.side;
    [
      clock(order.time), `${MARK[order.side]} ${order.side}`,
      `${order.type.replace("_", " ")} ${order.post_only ? "post" : order.time_in_force}`,
      quantity(order.quantity), (price ?? "market") + (order.stop_price ? ` stop ${order.stop_price}` : ""),
      quantity(order.filled), order.average_price ?? "–",
      order.status.replace("_", " ") + (order.in_doubt === "0" ? "" : `, ${order.in_doubt} under way`),
    ].forEach((text, at) => put(line.cells[at], text));
    const button = line.cells[8]?.firstChild;
    button?.setAttribute("aria-label", `Cancel ${order.side} ${order.quantity} at ${order.price ?? "market"}`);
  }

  drawFills(body) {
    const { market } = this.page;
    const newest = [...this.fills.values()].slice(-ROWS_MAX).reverse();
    if (!newest.length) return none(body, "Nothing of yours has traded here.");
    fill(body, newest, () => row(...FILL_COLUMNS), (line, one) => {
      line.className = one.side;
      [
        clock(one.time), `${MARK[one.side]} ${one.side}`, market.quantityText(market.quantity(one.quantity)),
        market.priceText(market.price(one.price)), one.role, one.order_id.slice(0, 8),
      ].forEach((text, at) => put(line.cells[at], text));
    });
  }

  drawClosed(body) {
    const orders = this.closed.slice(0, ROWS_MAX);
    if (!orders.length) return none(body, "No order of yours is closed here.");
    fill(body, orders, () => row(...COLUMNS), (line, order) => this.showOrder(line, order));
  }
}
