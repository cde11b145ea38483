'use strict'
// A Node grape made through the library: argv[2] is its configuration as JSON.
// `verifier: true` gives it the ed25519 verifier that the command line cannot.
const crypto = require('crypto')
const { Grape } = require('grenache-grape')

const conf = JSON.parse(process.argv[2])
if (conf.verifier) {
  const head = Buffer.from('302a300506032b6570032100', 'hex') // SubjectPublicKeyInfo of an ed25519 key
  conf.verify = (sig, message, k) => crypto.verify(
    null, message, { key: Buffer.concat([head, k]), format: 'der', type: 'spki' }, sig)
}
new Grape(conf).start((err) => { if (err) throw err; console.log('started') })
