// Runs the public http-cache-tests (http-tests/cache-tests) from the folder that argv[2] names: its origin, its client and its
// checks, with a small fetch of our own, because the runtime's adds Cache-Control and Pragma to requests that carry validators.
// Says {"port": N} (the origin), waits for a line with the base URL of the cache on stdin, prints the results as one line of JSON.

import http from 'node:http'
import path from 'node:path'
import process from 'node:process'
import readline from 'node:readline'
import { pathToFileURL } from 'node:url'

const folder = process.argv[2]
const only = process.argv[3] || ''
const load = file => import(pathToFileURL(path.join(folder, file)))
const handleConfig = (await load('server/handle-config.mjs')).default
const handleState = (await load('server/handle-state.mjs')).default
const handleTest = (await load('server/handle-test.mjs')).default
const { runTests, getResults } = await load('client/runner.mjs')
const suites = (await load('tests/index.mjs')).default

if (!only) console.log = () => {} // the suite's server warns on stdout
const say = value => process.stdout.write(JSON.stringify(value) + '\n')

const origin = http.createServer((request, response) => {
  const segments = new URL(request.url, 'http://origin/').pathname.split('/').slice(1)
  const kind = segments.shift()
  if (kind === 'config') handleConfig(segments, request, response)
  else if (kind === 'test') handleTest(segments, request, response)
  else if (kind === 'state') handleState(segments, request, response)
  else response.writeHead(404).end()
})

function fetch (url, init = {}) {
  return new Promise((resolve, reject) => {
    const headers = ['Host', new URL(url).host, 'Accept', '*/*', 'Accept-Encoding', 'gzip,deflate', 'Connection', 'close']
    for (const [name, value] of init.headers || []) {
      const at = headers.findIndex((known, index) => index % 2 === 0 && known.toLowerCase() === name.toLowerCase())
      if (at >= 0 && at < 8 && name.toLowerCase() !== 'host') headers.splice(at, 2)
      headers.push(name, String(value))
    }
    const method = init.method || 'GET'
    if (init.body !== undefined) headers.push('Content-Length', String(Buffer.byteLength(init.body)))
    const request = http.request(url, { method, headers, agent: false }, message => {
      const pieces = []
      message.on('data', piece => pieces.push(piece))
      message.on('error', reject)
      message.on('end', () => {
        const fields = new Headers()
        for (let i = 0; i < message.rawHeaders.length; i += 2) fields.append(message.rawHeaders[i], message.rawHeaders[i + 1])
        const body = Buffer.concat(pieces).toString('utf8')
        resolve({ status: message.statusCode, statusText: message.statusMessage, headers: fields, text: async () => body })
      })
    })
    request.on('error', reject)
    request.end(init.body)
  })
}

function chosen () {
  if (!only) return suites
  return suites.map(suite => ({ ...suite, tests: suite.tests.filter(test => test.id === only).map(test => ({ ...test, dump: true })) }))
}

function verdictOf (test, results, tests) {
  const result = results[test.id]
  if (result === undefined) return 'untested'
  for (const needed of test.depends_on || []) {
    if (!['pass', 'yes'].includes(verdictOf(tests.get(needed), results, tests))) return 'dependency'
  }
  const check = test.kind === 'check'
  if (result === true) return check ? 'yes' : 'pass'
  if (result[0] === 'Setup') return result[1] === 'retry' ? 'retry' : 'setup'
  return check ? 'no' : 'fail'
}

await new Promise(resolve => origin.listen(0, '127.0.0.1', resolve))
say({ port: origin.address().port })
const base = await new Promise(resolve => readline.createInterface({ input: process.stdin }).once('line', resolve))
await runTests(chosen(), fetch, false, base.trim(), 200)
const results = getResults()
const tests = new Map(suites.flatMap(suite => suite.tests).map(test => [test.id, test]))
const report = []
for (const suite of suites) {
  for (const test of suite.tests) {
    if (results[test.id] === undefined) continue
    const detail = Array.isArray(results[test.id]) ? results[test.id].join(': ') : ''
    report.push({ id: test.id, suite: suite.id, name: test.name, kind: test.kind || 'required', verdict: verdictOf(test, results, tests), detail })
  }
}
process.stdout.write(JSON.stringify({ report }) + '\n', () => process.exit(0))
