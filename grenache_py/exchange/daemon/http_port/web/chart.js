// Candles with volume, own fills as arrows and own orders as lines; and the depth of the book.
import { CandlestickSeries, HistogramSeries, createChart, createSeriesMarkers } from "/vendor/lightweight-charts-5.2.1.js";
import { grouped } from "./book.js";
import { $, made, page, put } from "./page.js";

const MS = { "1m": 60e3, "5m": 300e3, "15m": 900e3, "1h": 3600e3, "4h": 14400e3, "1d": 86400e3 };
const CANDLES = 300;
const LINES_MAX = 40;
const COLUMNS = 400n; // of the depth

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
/** The chart knows no time zones: it is given local time as if it were UTC. */
const OFFSET_S = new Date().getTimezoneOffset() * 60;
const local = (ms) => Math.floor(ms / 1000) - OFFSET_S;

const chart = createChart($("candles"), {
  autoSize: true,
  layout: { attributionLogo: false, fontFamily: "system-ui, sans-serif" },
  timeScale: { timeVisible: true, rightOffset: 4, barSpacing: 9 },
  handleScroll: { vertTouchDrag: false, mouseWheel: false }, handleScale: { mouseWheel: false },
});
const series = chart.addSeries(CandlestickSeries);
const volumes = chart.addSeries(HistogramSeries, {
  priceScaleId: "", priceFormat: { type: "volume" }, lastValueVisible: false, priceLineVisible: false,
});
volumes.priceScale().applyOptions({ scaleMargins: { top: 0.8, bottom: 0 } });
series.priceScale().applyOptions({ scaleMargins: { top: 0.08, bottom: 0.25 } });
const markers = createSeriesMarkers(series, []);

let interval = "1m";
let newest; // candle
const moved = new Map(); // candles that are to be drawn, by time
let drawn = ""; // which lines and arrows

const candleAt = (ms) => local(ms - (ms % MS[interval]));

export function theme() {
  const [text, line, buy, sell] = ["dim", "line", "buy", "sell"].map(colour);
  chart.applyOptions({
    layout: { background: { type: "solid", color: colour("page") }, textColor: text },
    grid: { vertLines: { color: line }, horzLines: { color: line } },
    rightPriceScale: { borderColor: line }, timeScale: { borderColor: line },
  });
  // Rising is pale, falling is full: told apart without colour too.
  series.applyOptions({
    upColor: `${buy}22`, borderUpColor: buy, wickUpColor: buy,
    downColor: sell, borderDownColor: sell, wickDownColor: sell,
  });
  volumes.applyOptions({ color: `${colour("edge")}66` });
  drawn = "";
  page.changed();
}

/** Show the peer's candles; `anew`: scroll to the newest. */
export async function start(anew = true) {
  const { symbol, tick, pricePlaces } = page.market, wanted = interval;
  for (const button of $("intervals").children) button.ariaPressed = button.value === interval;
  await page.ask("candles.list", { market: symbol, interval, limit: CANDLES }, ({ candles }) => {
    if (wanted !== interval) return;
    const bars = candles.map(({ time, volume: value, ...prices }) => {
      const bar = { value, ...prices };
      for (const name in bar) bar[name] = Number(bar[name]);
      return { ...bar, time: local(time) };
    });
    series.applyOptions({ priceFormat: { type: "price", precision: pricePlaces, minMove: Number(tick) } });
    for (const each of [series, volumes]) each.setData(bars);
    if (anew) chart.timeScale().scrollToPosition(4, false);
    newest = bars.at(-1);
    moved.clear();
    drawn = "";
  });
}

/** A trade moves the newest candle, or begins the next. */
export function traded({ time: at, price, quantity }) {
  const time = candleAt(at), close = Number(price);
  if (time < newest?.time) return; // in an older candle: seen when all are read again
  newest = { time, open: close, high: close, low: close, value: 0, ...(time === newest?.time && newest), close };
  newest.high = Math.max(newest.high, close);
  newest.low = Math.min(newest.low, close);
  newest.value += Number(quantity);
  moved.set(time, newest);
}

/** One line for each side and price, and one arrow for each side and candle. */
export function draw(orders, fills) {
  for (const bar of moved.values()) for (const each of [series, volumes]) each.update(bar);
  moved.clear();
  const priced = orders.filter((order) => order.price).slice(0, LINES_MAX);
  const wanted = new Map(priced.map((order) => [order.side + order.price, order]));
  const now = `${[...wanted.keys()]} ${newest?.time} ${fills.length} ${fills.at(-1)?.seq}`;
  if (now === drawn) return;
  drawn = now;
  for (const each of series.priceLines()) series.removePriceLine(each);
  for (const { side, price } of wanted.values()) {
    series.createPriceLine({
      price: Number(price), color: colour(side), lineWidth: 1, lineStyle: 1, title: side, axisLabelVisible: false,
    });
  }
  const first = series.data()[0]?.time;
  const arrows = new Map(fills.map(({ time, side }) => [candleAt(time) + side, {
    time: candleAt(time), color: colour(side),
    ...(side === "buy" ? { position: "belowBar", shape: "arrowUp" } : { position: "aboveBar", shape: "arrowDown" }),
  }]));
  markers.setMarkers([...arrows.values()].filter(({ time }) => time >= first).sort((a, b) => a.time - b.time));
}

/** The depth within some per cent of the middle, or all of it. */
export function drawDepth() {
  const { book, market } = page, within = $("within").value, middle2 = book?.middle2 ?? null;
  let low = 0n, high = 0n, further = 0, most = 0n;
  const paths = { buy: "", sell: "" }, shown = middle2 !== null;
  if (shown) {
    low = book.buy.at(-1)?.price ?? middle2 / 2n;
    high = book.sell.at(-1)?.price ?? middle2 / 2n;
    if (within !== "all") [low, high] = [-1n, 1n].map((sign) => (middle2 * (100n + sign * BigInt(within))) / 200n);
    for (const side in paths) {
      const levels = book[side].filter(({ price }) => (side === "buy" ? price >= low : price <= high));
      further += book[side].length - levels.length;
      let sum = 0n;
      for (const row of grouped(levels, side, (high - low) / COLUMNS + 1n, Infinity)) {
        paths[side] += `${sum ? "H" : "M"}${row.price - low}${sum ? "" : " 0"}V-${(sum = row.sum)}`;
      }
      if (sum) paths[side] += `H${side === "buy" ? 0 : high - low}V0Z`;
      if (sum > most) most = sum;
    }
  }
  const [lowest, highest] = shown ? [low, high].map(market.priceText) : ["", ""];
  const far = further ? `${further} ${further === 1 ? "level is" : "levels are"} further away` : "";
  put($("depth-low"), lowest);
  put($("depth-far"), shown || !book ? far : "No orders stand in this market.");
  put($("depth-high"), highest);
  $("depth").setAttribute("viewBox", `0 -${most} ${high - low} ${most}`);
  for (const side in paths) $(`depth-${side}`).setAttribute("d", paths[side]);
}

for (const name in MS) {
  const button = $("intervals").appendChild(made("button", { value: name, textContent: name }));
  button.onclick = () => {
    interval = button.value;
    start().catch(() => {});
  };
}
