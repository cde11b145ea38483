// The modules of the page that need no page: exact decimals, the book, the line. Run with `node --test`.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Book, groupOf, grouped, protectedPrice, sweep } from "./book.js";
import { Line, LineLost } from "./net.js";
import { divide, format, marketOf, parse, wrongStep } from "./num.js";

const MARKET = marketOf({ market: "BTC-USD", tick: "0.01", lot: "0.0001", protection_bp: 500 });

test("decimals are exact", () => {
  assert.equal(parse("0.1", 4) + parse("0.2", 4), parse("0.3", 4));
  assert.equal(parse("90071992547409931.01", 2), 9007199254740993101n);
  for (const text of ["", ".", ".5", "1.", "1e3", "-1", "1,5", "0x1", "1.2.3", "١", "9".repeat(50)]) {
    assert.equal(parse(text, 2), null, text);
  }
  assert.equal(parse("1.005", 2), null);
  assert.equal(parse("1.500", 2), 150n);
  assert.equal(format(5n, 2), "0.05");
  assert.equal(format(-150n, 2), "-1.50");
  assert.equal(format(7n, 0), "7");
  assert.equal(divide(5n, 2n), 3n);
  for (let units = 0n; units < 20000n; units += 7n) assert.equal(parse(format(units, 4), 4), units);
});

test("what is no multiple of a step is told with its neighbours", () => {
  assert.equal(wrongStep("98.01", "0.01"), "");
  assert.equal(wrongStep("98.005", "0.01"), "98.005 is not a multiple of 0.01; the nearest is 98.00 or 98.01");
  assert.equal(wrongStep("0.001", "0.01"), "0.001 is not a multiple of 0.01; the nearest is 0.01");
  assert.equal(wrongStep("7", "5"), "7 is not a multiple of 5; the nearest is 5 or 10");
  assert.equal(wrongStep("0", "5"), "must be more than 0");
  assert.match(wrongStep("much", "5"), /is no number/);
});

test("a book takes in updates in any order of prices, and says when one is missing", () => {
  const book = new Book(MARKET, { seq: 1, bids: [["99", "1", 1]], asks: [["101", "1", 1]] });
  const changes = [["buy", "100", "2", 1], ["buy", "98.5", "3", 1], ["sell", "100.5", "1", 1], ["sell", "101", "0", 0]];
  assert.ok(book.apply({ seq: 2, prev_seq: 1, changes }));
  assert.deepEqual(book.buy.map(({ price }) => price), [10000n, 9900n, 9850n]);
  assert.deepEqual([book.bid, book.ask, book.middle2], [10000n, 10050n, 20050n]);
  assert.ok(!book.apply({ seq: 4, prev_seq: 3, changes: [] }));
});

test("a book is as the naive one, whatever comes", () => {
  let seed = 7;
  const random = (below) => (seed = (seed * 48271) % 2147483647) % below;
  const book = new Book(MARKET, { seq: 1, bids: [], asks: [] }), naive = { buy: new Map(), sell: new Map() };
  for (let seq = 1; seq < 3000; seq++) {
    const side = random(2) ? "buy" : "sell", price = BigInt(1 + random(200)), quantity = BigInt(random(4));
    if (quantity) naive[side].set(price, quantity);
    else naive[side].delete(price);
    const change = [side, format(price, 2), format(quantity, 4), 1];
    assert.ok(book.apply({ seq: seq + 1, prev_seq: seq, changes: [change] }));
  }
  for (const side of ["buy", "sell"]) {
    const wanted = [...naive[side]].sort(([a], [b]) => Number(side === "buy" ? b - a : a - b));
    assert.deepEqual(book[side].map(({ price, quantity }) => [price, quantity]), wanted);
  }
});

const level = (price, quantity) => ({ price: MARKET.price(price), quantity: MARKET.quantity(quantity) });

test("what an order would do", () => {
  const asks = [level("100", "1"), level("101", "2"), level("200", "1")];
  const all = sweep(asks, MARKET.quantity("2"), () => true);
  assert.deepEqual([all.filled, all.left, all.average, all.worst], [20000n, 0n, 10050n, 10100n]);
  const some = sweep(asks, MARKET.quantity("5"), (price) => price <= 10100n);
  assert.deepEqual([some.filled, some.left, some.worst], [30000n, 20000n, 10100n]);
  assert.equal(sweep([], 1n, () => true).average, null);
  assert.equal(protectedPrice(MARKET, "buy", 10054n), 10556n);
  assert.equal(protectedPrice(MARKET, "sell", 10043n), 9541n);
});

test("groups are no better than what is in them", () => {
  const asks = [level("100.01", "1"), level("100.10", "1"), level("100.11", "1")];
  const rows = grouped(asks, "sell", 10n, 9).map(({ price, quantity, sum }) => [price, quantity, sum]);
  assert.deepEqual(rows, [[10010n, 20000n, 20000n], [10020n, 10000n, 30000n]]);
  assert.equal(grouped(asks, "sell", 1n, 2).length, 2);
  assert.equal(groupOf("buy", 10019n, 10n), 10010n);
});

class Socket {
  sent = [];
  closed = false;
  send(text) { this.sent.push(JSON.parse(text)); }
  close() { this.closed = true; }
  answer(result) { this.say({ id: this.sent.at(-1).id, ...result }); }
  say(message) { this.onmessage({ data: JSON.stringify(message) }); }
}

function connected() {
  const sockets = [], told = [], lives = [];
  let now = 0;
  const line = new Line({
    open: () => { sockets.push(new Socket()); return sockets.at(-1); },
    live: () => lives.push(line.hello), told: (...each) => told.push(each), changed() {},
  }, () => now);
  const later = (ms) => {
    for (const until = now + ms; now < until;) {
      now += 500;
      line.tick();
    }
  };
  line.tick();
  return { line, sockets, told, lives, later };
}

const turn = () => new Promise(setImmediate);

async function greeted(given = connected()) {
  const socket = given.sockets.at(-1);
  socket.onopen();
  socket.answer({ result: { token_needed: false, scopes: [] } });
  await turn();
  assert.equal(socket.sent.at(-1).method, "status.subscribe");
  socket.answer({ result: { status: { time: Date.now() + 5000 } } });
  await turn();
  return { ...given, socket };
}

test("a line that is silent is stale, is dead, and is made anew", async () => {
  const { line, sockets, socket, later } = await greeted();
  assert.equal(line.state, "live");
  assert.ok(Math.abs(line.aheadMs - 5000) < 1000);
  later(9500);
  assert.ok(!line.stale);
  later(500);
  assert.ok(line.stale);
  socket.say({ method: "status.update", params: { time: 0 } });
  assert.ok(!line.stale, "it spoke");
  later(10000);
  const asked = line.call("status");
  later(6000);
  await assert.rejects(asked, LineLost);
  assert.ok(socket.closed);
  assert.ok(line.state === "waiting" || sockets.length === 2);
  later(8000);
  await greeted({ line, sockets, later });
  assert.equal(line.state, "live");
});

test("who does not greet is given up, and tried again after a pause", async () => {
  const { line, sockets, later } = connected();
  await assert.rejects(line.call("status"), LineLost);
  later(8000);
  assert.ok(sockets[0].closed);
  assert.ok(line.retryInS >= 1 && line.retryInS <= 4);
  later(4000);
  assert.equal(sockets.length, 2);
});

test("answers find their question, errors are errors, and the rest is told", async () => {
  const { line, socket, told } = await greeted();
  const first = line.call("a"), [{ id }] = socket.sent.slice(-1), second = line.call("b");
  socket.answer({ error: { code: -32000, message: "no" } });
  socket.say({ id, result: 7 });
  socket.say({ method: "book.update", params: 1 });
  assert.equal(await first, 7);
  await assert.rejects(second, { code: -32000, message: "no" });
  assert.deepEqual(told, [["book.update", 1]]);
});

test("when one of what is followed ends, all of it begins anew", async () => {
  const { line, socket, sockets, later } = await greeted();
  socket.say({ method: "gap", params: { subscription: "book:BTC-USD" } });
  assert.equal(line.state, "waiting");
  later(4000);
  assert.equal(sockets.length, 2);
});

test("a wrong token is said, and asked for again", async () => {
  const given = connected(), { line, sockets, later } = given;
  const asksForOne = async () => {
    sockets.at(-1).onopen();
    sockets.at(-1).answer({ result: { token_needed: true, scopes: [] } });
    await turn();
    assert.equal(line.state, "token");
  };
  await asksForOne();
  later(60000);
  assert.equal(line.state, "token", "it is told nothing, and waits");
  line.show("wrong");
  later(500);
  sockets.at(-1).onopen();
  assert.equal(sockets.at(-1).sent.at(-1).params.token, "wrong");
  sockets.at(-1).answer({ error: { code: -32006, message: "not known" } });
  await turn();
  sockets.at(-1).answer({ result: { token_needed: true, scopes: [] } });
  await turn();
  assert.deepEqual([line.state, line.wrong], ["token", "not known"]);
  line.show("right");
  later(500);
  await greeted(given);
  assert.deepEqual([line.state, line.wrong, given.lives.length], ["live", "", 1]);
});
