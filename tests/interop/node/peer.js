'use strict'
// A Grenache program in Node: one JSON command a line on stdin, one JSON answer a line on stdout.
// argv[2] is the URL of its grape. Packages are those of package.json, unchanged.
const fs = require('fs')
const readline = require('readline')
const Link = require('grenache-nodejs-link')
const transports = { http: require('grenache-nodejs-http'), ws: require('grenache-nodejs-ws') }

const link = new Link({ grape: process.argv[2] })
link.start()

const clients = {}
const heard = []
let publisher = null

const secured = (secure) => secure && {
  key: fs.readFileSync(secure.key), cert: fs.readFileSync(secure.cert), ca: fs.readFileSync(secure.ca),
  requestCert: true, rejectUnauthorized: false
}

function client (command) {
  const name = command.transport + (command.secure ? '+tls' : '')
  if (!clients[name]) {
    const opts = command.secure ? { secure: secured(command.secure) } : {}
    clients[name] = new transports[command.transport].PeerRPCClient(link, opts)
    clients[name].init()
  }
  return clients[name]
}

function handle (rid, key, payload, handler, cert) {
  if (payload === 'boom') return handler.reply(new Error('something went wrong'), null)
  if (payload === 'never') return
  handler.reply(null, { echo: payload, key, certificate: (cert && cert.subject && cert.subject.CN) || null })
}

const commands = {
  link: (c, done) => link[c.method](...c.args, done),
  startAnnouncing: (c, done) => link.startAnnouncing(c.name, c.port, { interval: c.interval }, done),
  request: (c, done) => client(c).request(c.name, c.payload, c.opts || {}, done),
  map: (c, done) => client(c).map(c.name, c.payload, c.opts || {}, done),
  stream: (c, done) => {
    const req = client(c).stream(c.name, { headers: { _a: c.action, _ar: c.args }, timeout: 5000 })
    const parts = []
    req.on('data', (d) => parts.push(d))
    req.on('end', () => done(null, Buffer.concat(parts).toString()))
    for (const chunk of c.chunks) req.write(chunk)
    req.end()
  },
  serve: (c, done) => {
    const opts = { timeout: 300000 }
    if (c.secure) opts.secure = secured(c.secure)
    if (c.streams) opts.disableBuffered = true
    const peer = new transports[c.transport].PeerRPCServer(link, opts)
    peer.init()
    const service = peer.transport('server')
    service.listen(c.port)
    service.on('request', handle)
    if (c.streams) {
      service.on('stream', (req, res, meta) => {
        res.write(JSON.stringify([meta.infoHeaders[1], meta.action, meta.args]))
        req.on('data', (d) => res.write(d.toString().toUpperCase()))
        req.on('end', () => res.end())
      })
    }
    link.announce(c.name, c.port, {}, done)
  },
  publish: (c, done) => {
    if (!publisher) {
      const peer = new transports.ws.PeerPub(link, {})
      peer.init()
      publisher = peer.transport('server')
      publisher.listen(c.port)
      return link.announce(c.name, c.port, {}, done)
    }
    publisher.pub(c.binary ? Buffer.from(c.binary) : c.text)
    done(null, true)
  },
  subscribe: (c, done) => {
    const peer = new transports.ws.PeerSub(link, {})
    peer.init()
    peer.on('message', (m) => heard.push(Buffer.isBuffer(m) ? [...m] : m))
    peer.on('connected', () => done(null, true))
    peer.sub(c.name, { timeout: 5000 })
  },
  heard: (c, done) => done(null, heard)
}

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const command = JSON.parse(line)
  commands[command.op](command, (err, result) => {
    const error = err ? String(err.message || err) : null
    console.log(JSON.stringify({ error, result: result === undefined ? null : result }))
  })
})
console.log('"started"')
