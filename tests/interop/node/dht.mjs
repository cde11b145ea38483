// A bittorrent-dht@11 node that does what it is told, one JSON array a line:
// [command, ...arguments] on stdin, and its outcome as {ok} or {error} on stdout.
import crypto from 'node:crypto'
import readline from 'node:readline'
import DHT from 'bittorrent-dht'

const head = Buffer.from('302a300506032b6570032100', 'hex')
const publicKey = (k) => ({ key: Buffer.concat([head, k]), format: 'der', type: 'spki' })
const hex = (x) => (x == null ? null : Buffer.from(x).toString('hex'))

const dht = new DHT({
  bootstrap: JSON.parse(process.argv[2]),
  verify: (sig, message, k) => crypto.verify(null, message, publicKey(k), sig)
})
const commands = {
  announce: (infoHash, port, done) => dht.announce(Buffer.from(infoHash, 'hex'), port, (e) => done(e, true)),
  lookup (infoHash, done) {
    const peers = new Set()
    const found = (peer, hash) => { if (hex(hash) === infoHash) peers.add(`${peer.host}:${peer.port}`) }
    dht.on('peer', found)
    dht.lookup(Buffer.from(infoHash, 'hex'), (e) => { dht.off('peer', found); done(e, [...peers]) })
  },
  put (fields, done) {
    for (const name of ['v', 'k', 'sig', 'salt']) if (fields[name]) fields[name] = Buffer.from(fields[name], 'hex')
    dht.put(fields, (e, hash) => done(e, hex(hash)))
  },
  get: (target, salt, done) => dht.get(Buffer.from(target, 'hex'), { cache: false, salt: Buffer.from(salt, 'hex') },
    (e, r) => done(e, r && { v: hex(r.v), k: hex(r.k), sig: hex(r.sig), seq: r.seq ?? null })),
  nodes: (done) => done(null, dht.toJSON().nodes.length)
}
dht.listen(Number(process.argv[3]), '127.0.0.1', () => {
  console.log(JSON.stringify({ ok: dht.address().port }))
  readline.createInterface({ input: process.stdin }).on('line', (line) => {
    const [name, ...rest] = JSON.parse(line)
    commands[name](...rest, (error, ok) => console.log(JSON.stringify(error ? { error: error.message } : { ok })))
  }).on('close', () => process.exit(0))
})
