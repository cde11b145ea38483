'use strict'
// SIZE Node grapes in one process; SERVICES announced from random ones and looked up at random ones.
// Prints one JSON object of figures.
const { Grape } = require('grenache-grape')

const [size, services, firstPort] = process.argv.slice(2).map(Number)
const port = (i) => firstPort + 2 * i
const grapes = []
const started = process.hrtime.bigint()
const msSince = (t) => Number(process.hrtime.bigint() - t) / 1e6
const any = () => grapes[Math.floor(Math.random() * size)]
const call = (method, ...args) => new Promise((resolve) => any()[method](...args, (error, result) => resolve(error ? null : result)))

let notReady = size
let readyMs = 0
for (let i = 0; i < size; i++) {
  const grape = new Grape({
    host: '127.0.0.1', dht_port: port(i), api_port: port(i) + 1, dht_bootstrap: [`127.0.0.1:${port((i + 1) % 2)}`]
  })
  grape.on('ready', () => { if (--notReady === 0) { readyMs = msSince(started); setTimeout(measure, 3000) } })
  grape.start((error) => { if (error) throw error })
  grapes.push(grape)
}

async function measure () {
  let announced = 0
  let found = 0
  const announcing = process.hrtime.bigint()
  for (let s = 0; s < services; s++) if (await call('announce', `svc-${s}`, 3000 + s) != null) announced++
  const announceMs = msSince(announcing) / services
  const times = []
  for (let s = 0; s < services; s++) {
    const asked = process.hrtime.bigint()
    const peers = await call('lookup', `svc-${s}`)
    times.push(msSince(asked))
    if (peers && peers.some((peer) => peer.endsWith(`:${3000 + s}`))) found++
  }
  times.sort((a, b) => a - b)
  console.log(JSON.stringify({
    ready_ms: readyMs, announce_ms: announceMs, announced, found,
    lookup_p50_ms: times[Math.floor(services / 2)], lookup_p99_ms: times[Math.floor(services * 0.99)],
    rss_mb: process.memoryUsage().rss / 1e6
  }))
  process.exit(0)
}
