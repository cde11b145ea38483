// A Grenache service for Node: node service.js GRAPE PORT
const { PeerRPCServer } = require('grenache-nodejs-http')
const Link = require('grenache-nodejs-link')

const [grape, port] = process.argv.slice(2)
const link = new Link({ grape })
link.start()
const peer = new PeerRPCServer(link, {})
peer.init()

const service = peer.transport('server')
service.listen(Number(port))
const announce = () => link.announce('upper', Number(port), {}, (err) => {
  if (err) console.error(err.message)
  else console.log('upper is announced')
})
announce()
setInterval(announce, 40000)

service.on('request', (rid, key, payload, handler) => {
  if (typeof payload !== 'string') handler.reply(new Error('only text'), null)
  else handler.reply(null, payload.toUpperCase())
})
