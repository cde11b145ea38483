// Calls a Grenache service from Node: node caller.js GRAPE NAME JSON
const { PeerRPCClient } = require('grenache-nodejs-http')
const Link = require('grenache-nodejs-link')

const [grape, name, json] = process.argv.slice(2)
const link = new Link({ grape })
link.start()
const peer = new PeerRPCClient(link, {})
peer.init()

peer.request(name, JSON.parse(json), { timeout: 5000 }, (err, answer) => {
  console.log(err ? `error: ${err.message}` : answer)
  process.exit(err ? 1 : 0)
})
