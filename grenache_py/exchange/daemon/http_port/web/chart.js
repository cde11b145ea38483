// Candles with volume, own fills as arrows and own orders as lines; and the depth of the book.
import {
  CandlestickSeries, ColorType, HistogramSeries, createChart, createSeriesMarkers,
} from "/vendor/lightweight-charts-5.2.1.js";
import { depth } from "./book.js";
import { $, put } from "./dom.js";
import { toNumber } from "./num.js";

const MS = { "1m": 60e3, "5m": 300e3, "15m": 900e3, "1h": 3600e3, "4h": 14400e3, "1d": 86400e3 };
const CANDLES = 300;
const LINES_MAX = 40;
const WIDTH = 600, HEIGHT = 100, COLUMNS = 400;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
/** The chart knows no time zones: it is given local time as if it were UTC. */
const OFFSET_S = new Date().getTimezoneOffset() * 60;
const local = (ms) => Math.floor(ms / 1000) - OFFSET_S;

export class Chart {
  constructor(page) {
    this.page = page;
    this.interval = "1m";
    this.candle = null; // the newest
    this.moved = new Set(); // candles that are to be drawn again
    this.lines = new Map();
    this.arrows = "";
    this.chart = createChart($("candles"), {
      autoSize: true,
      layout: { attributionLogo: false, fontFamily: "system-ui, sans-serif" },
      timeScale: { timeVisible: true, rightOffset: 4, barSpacing: 9 },
      handleScroll: { vertTouchDrag: false, mouseWheel: false }, handleScale: { mouseWheel: false },
    });
    this.series = this.chart.addSeries(CandlestickSeries);
    this.volume = this.chart.addSeries(HistogramSeries, {
      priceScaleId: "", priceFormat: { type: "volume" }, lastValueVisible: false, priceLineVisible: false,
    });
    this.volume.priceScale().applyOptions({ scaleMargins: { top: 0.8, bottom: 0 } });
    this.series.priceScale().applyOptions({ scaleMargins: { top: 0.08, bottom: 0.25 } });
    this.markers = createSeriesMarkers(this.series, []);
    this.buttons = [...document.querySelectorAll("#intervals button")];
    for (const button of this.buttons) {
      button.onclick = () => {
        this.interval = button.value;
        this.start().catch(() => {});
      };
    }
    this.theme();
  }

  theme() {
    const [text, line, buy, sell] = ["dim", "line", "buy", "sell"].map(colour);
    this.chart.applyOptions({
      layout: { background: { type: ColorType.Solid, color: colour("page") }, textColor: text },
      grid: { vertLines: { color: line }, horzLines: { color: line } },
      rightPriceScale: { borderColor: line }, timeScale: { borderColor: line },
    });
    // Rising is pale, falling is full: told apart without colour too.
    this.series.applyOptions({
      upColor: `${buy}22`, borderUpColor: buy, wickUpColor: buy,
      downColor: sell, borderDownColor: sell, wickDownColor: sell,
    });
    this.volume.applyOptions({ color: colour("volume") });
    for (const line of this.lines.values()) this.series.removePriceLine(line);
    this.lines.clear();
    this.arrows = "";
    this.page.changed();
  }

  /** Begin anew with the peer's candles. */
  async start() {
    const { line, market } = this.page, { interval } = this;
    for (const button of this.buttons) button.setAttribute("aria-pressed", button.value === interval);
    const { candles } = await line.call("candles.list", { market: market.symbol, interval, limit: CANDLES });
    if (market !== this.page.market || interval !== this.interval) return;
    this.series.applyOptions({
      priceFormat: { type: "price", precision: market.pricePlaces, minMove: Number(market.tick) },
    });
    const bars = candles.map(({ time, volume, ...prices }) => {
      const bar = { time: local(time), start: time, volume: Number(volume) };
      for (const name in prices) bar[name] = Number(prices[name]);
      return bar;
    });
    this.series.setData(bars);
    this.volume.setData(bars.map(({ time, volume }) => ({ time, value: volume })));
    this.chart.timeScale().scrollToRealTime();
    this.candle = bars.at(-1) ?? null;
    this.moved.clear();
    this.first = bars[0]?.start ?? 0;
    this.arrows = "";
    this.page.changed();
  }

  /** Trades that came after the candles. */
  traded(trades) {
    for (const trade of trades) {
      const price = Number(trade.price), start = trade.time - (trade.time % MS[this.interval]);
      if (this.candle && start < this.candle.start) continue;
      if (this.candle?.start !== start) {
        this.candle = { time: local(start), start, open: price, high: price, low: price, close: price, volume: 0 };
      }
      const { candle } = this;
      candle.high = Math.max(candle.high, price);
      candle.low = Math.min(candle.low, price);
      candle.close = price;
      candle.volume += Number(trade.quantity);
      this.first ||= start;
      this.moved.add(candle);
    }
  }

  draw(orders, fills) {
    const { market } = this.page, wanted = new Map();
    for (const candle of this.moved) {
      this.series.update({ ...candle });
      this.volume.update({ time: candle.time, value: candle.volume });
    }
    this.moved.clear();
    for (const order of orders.slice(0, LINES_MAX)) {
      if (order.price) wanted.set(`${order.side} ${order.price}`, order);
    }
    for (const [key, line] of this.lines) {
      if (wanted.has(key)) continue;
      this.series.removePriceLine(line);
      this.lines.delete(key);
    }
    for (const [key, { side, price }] of wanted) {
      if (this.lines.has(key)) continue;
      const options = { price: Number(price), color: colour(side), lineWidth: 1, lineStyle: 1, title: side };
      this.lines.set(key, this.series.createPriceLine({ ...options, axisLabelVisible: false }));
    }
    const seen = fills.filter((one) => one.time >= this.first);
    const arrows = `${seen.length} ${seen.at(-1)?.time} ${this.interval}`;
    if (arrows !== this.arrows) {
      this.arrows = arrows;
      const one = new Map(); // of a candle and side
      for (const { time, side } of seen) {
        const start = time - (time % MS[this.interval]), bought = side === "buy";
        one.set(`${start} ${side}`, {
          time: local(start), color: colour(side),
          position: bought ? "belowBar" : "aboveBar", shape: bought ? "arrowUp" : "arrowDown",
        });
      }
      this.markers.setMarkers([...one.values()].sort((a, b) => a.time - b.time));
    }
    const price = (name) => `${name} ${this.candle[name].toFixed(market.pricePlaces)}`;
    const said = this.candle ? ["open", "high", "low", "close"].map(price).join(", ") : "nothing has traded yet";
    $("candles").setAttribute("aria-label", `Candles of ${this.interval}; ${said}`);
  }

  /** The depth of the book within some per cent of the middle, or all of it. */
  drawDepth() {
    const { book, market } = this.page, within = $("within").value, middle2 = book?.middle2 ?? null;
    if (middle2 === null) {
      for (const id of ["depth-bids", "depth-asks"]) $(id).setAttribute("d", "");
      put($("depth-low"), "");
      put($("depth-high"), "");
      return put($("depth-far"), "No orders stand in this market.");
    }
    const margin2 = within === "all" ? null : middle2 * BigInt(within);
    const inside = (price) => {
      const away = 2n * price - middle2;
      return margin2 === null || (away < 0n ? -away : away) * 100n <= margin2;
    };
    const bids = depth(book.buy, inside), asks = depth(book.sell, inside);
    let low, high;
    if (margin2 === null) {
      low = bids.points.at(-1)?.[0] ?? middle2 / 2n;
      high = asks.points.at(-1)?.[0] ?? middle2 / 2n;
    } else [low, high] = [(middle2 - margin2 / 100n) / 2n, (middle2 + margin2 / 100n) / 2n];
    const least = toNumber(low, 0), span = toNumber(high - low, 0) || 1;
    const top = Math.max(...[bids, asks].map(({ points }) => Number(points.at(-1)?.[1] ?? 0n))) || 1;
    const path = ({ points }, edge) => {
      const steps = new Map(); // of one column the last: there are no more of them than there are columns
      for (const [price, sum] of points) {
        const column = Math.round(((toNumber(price, 0) - least) / span) * COLUMNS);
        steps.set(column * (WIDTH / COLUMNS), HEIGHT - (0.95 * HEIGHT * Number(sum)) / top);
      }
      let drawn = "", y = HEIGHT;
      for (const [x, next] of steps) {
        drawn += `${drawn ? "L" : "M"}${x} ${y}L${x} ${next.toFixed(1)}`;
        y = next.toFixed(1);
      }
      return drawn && `${drawn}L${edge} ${y}L${edge} ${HEIGHT}Z`;
    };
    $("depth-bids").setAttribute("d", path(bids, 0));
    $("depth-asks").setAttribute("d", path(asks, WIDTH));
    put($("depth-low"), market.priceText(low));
    put($("depth-high"), market.priceText(high));
    const further = bids.further + asks.further;
    put($("depth-far"), further ? `${further} ${further === 1 ? "level is" : "levels are"} further away` : "");
  }
}
