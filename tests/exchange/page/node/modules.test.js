// The modules of the page that need no page: exact decimals, the book, the line. Run with `node --test`.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Book, crc32, depth, groupOf, grouped, protectedPrice, sweep } from "./book.js";
import { Line, LineLost, Refused } from "./net.js";
import { divide, format, marketOf, parse, short, wrongStep } from "./num.js";

const MARKET = marketOf({ market: "BTC-USD", tick: "0.01", lot: "0.0001", protection_bp: 500 });

test("decimals are exact", () => {
  assert.equal(parse("0.1", 4) + parse("0.2", 4), parse("0.3", 4));
  assert.equal(parse("90071992547409931.01", 2), 9007199254740993101n);
  for (const text of ["", ".", "1e3", "-1", "1,5", "0x1", "1.2.3", "١", "9".repeat(50)]) {
    assert.equal(parse(text, 2), null, text);
  }
  assert.equal(parse("1.005", 2), null);
  assert.equal(parse("1.500", 2), 150n);
  assert.equal(parse(".5", 2), 50n);
  assert.equal(format(5n, 2), "0.05");
  assert.equal(format(-150n, 2), "-1.50");
  assert.equal(format(7n, 0), "7");
  for (const [text, told] of [["1.50", "1.5"], ["1.", "1"], ["100", "100"], [".5", "0.5"], ["007", "7"], ["0.0", "0"]]) {
    assert.equal(short(text), told);
  }
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

test("the checksum is that of the peer", () => {
  assert.equal(crc32("99:1|"), 1361231906); // docs/client-protocol.rst
  assert.equal(crc32("99:0.75|110:1"), 1667517771);
});

const snapshot = (bids, asks) => {
  const told = (levels) => levels.slice(0, 25).map(([price, quantity]) => `${price}:${quantity}`).join();
  return { seq: 1, bids, asks, checksum: crc32(`${told(bids)}|${told(asks)}`) };
};

test("a book takes in updates in any order of prices, and says when one does not fit", () => {
  const book = new Book(MARKET);
  assert.ok(book.start(snapshot([["99", "1", 1]], [["101", "1", 1]])));
  const checksum = crc32("100:2,99:1,98.5:3|100.5:1");
  const changes = [["buy", "100", "2", 1], ["buy", "98.5", "3", 1], ["sell", "100.5", "1", 1], ["sell", "101", "0", 0]];
  assert.ok(book.apply({ seq: 2, prev_seq: 1, changes, checksum }));
  assert.deepEqual(book.buy.map(({ price }) => price), [10000n, 9900n, 9850n]);
  assert.deepEqual([book.bid, book.ask, book.middle2], [10000n, 10050n, 20050n]);
  assert.ok(!book.apply({ seq: 4, prev_seq: 3, changes: [], checksum }), "one is missing");
  assert.ok(!book.apply({ seq: 3, prev_seq: 2, changes: [["buy", "100", "0", 0]], checksum }), "another book");
});

test("a book is as the naive one, whatever comes", () => {
  let seed = 7;
  const random = (below) => (seed = (seed * 48271) % 2147483647) % below;
  const book = new Book(MARKET), naive = { buy: new Map(), sell: new Map() };
  book.start(snapshot([], []));
  for (let seq = 1; seq < 3000; seq++) {
    const side = random(2) ? "buy" : "sell", price = format(BigInt(1 + random(200)), 2), quantity = String(random(4));
    if (quantity === "0") naive[side].delete(price);
    else naive[side].set(price, quantity);
    assert.ok(book.apply({ seq: seq + 1, prev_seq: seq, changes: [[side, price, quantity, 1]], checksum: null }));
  }
  for (const side of ["buy", "sell"]) {
    const wanted = [...naive[side]].sort(([a], [b]) => (side === "buy" ? b - a : a - b));
    assert.deepEqual(book[side].map(({ told }) => told), wanted.map((level) => level.join(":")));
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

test("depth stops at its limit", () => {
  const asks = [level("100", "1"), level("101", "2"), level("9999", "1")];
  const { points, further } = depth(asks, (price) => price < 20000n);
  assert.deepEqual(points, [[10000n, 10000n], [10100n, 30000n]]);
  assert.equal(further, 1);
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
  const line = new Line(() => { sockets.push(new Socket()); return sockets.at(-1); },
    { live: (hello) => lives.push(hello), told: (...each) => told.push(each), changed() {} }, () => now);
  const later = (ms) => {
    for (const until = now + ms; now < until;) {
      now += 500;
      line.tick();
    }
  };
  line.tick();
  return { line, sockets, told, lives, later };
}

async function greeted(given = connected()) {
  const socket = given.sockets.at(-1);
  socket.onopen();
  socket.answer({ result: { token_needed: false, scopes: [] } });
  await new Promise(setImmediate);
  socket.answer({ result: { time: Date.now() + 5000 } });
  await new Promise(setImmediate);
  return { ...given, socket };
}

test("a line that is silent is asked, is stale, is dead, and is made anew", async () => {
  const { line, sockets, socket, later } = await greeted();
  assert.equal(line.state, "live");
  assert.ok(Math.abs(line.aheadMs - 5000) < 1000);
  later(8000);
  assert.equal(socket.sent.at(-1).method, "ping");
  assert.ok(!line.stale);
  later(2000);
  assert.ok(line.stale);
  socket.answer({ result: { time: 0 } });
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

test("who does not greet is given up, with ever longer pauses", async () => {
  const { line, sockets, later } = connected();
  await assert.rejects(line.call("status"), LineLost);
  later(8000);
  assert.ok(sockets[0].closed);
  later(60000);
  assert.ok(sockets.length > 3 && sockets.length < 9, String(sockets.length));
});

test("answers find their question, errors are errors, and the rest is told", async () => {
  const { line, socket, told } = await greeted();
  const first = line.call("a"), [{ id }] = socket.sent.slice(-1), second = line.call("b");
  socket.answer({ error: { code: -32000, message: "no" } });
  socket.say({ id, result: 7 });
  socket.say({ method: "gap", params: 1 });
  assert.equal(await first, 7);
  await assert.rejects(second, (error) => error instanceof Refused && error.code === -32000);
  assert.deepEqual(told, [["gap", 1]]);
});

test("a wrong token is said, and asked for again", async () => {
  const given = connected(), [socket] = given.sockets, { line } = given;
  socket.onopen();
  socket.answer({ result: { token_needed: true, scopes: [] } });
  await new Promise(setImmediate);
  assert.equal(line.state, "token");
  line.show("wrong");
  assert.equal(socket.sent.at(-1).params.token, "wrong");
  socket.answer({ error: { code: -32006, message: "not known" } });
  await new Promise(setImmediate);
  assert.deepEqual([line.state, line.wrong], ["token", "not known"]);
  line.show("right");
  socket.answer({ result: { token_needed: false, scopes: [] } });
  await new Promise(setImmediate);
  assert.deepEqual([line.state, line.wrong, given.lives.length], ["live", "", 1]);
});
